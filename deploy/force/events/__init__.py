"""The synthetic force at event level: what the systems of a police force that does not exist would have recorded.

Rules this package keeps: one seed, one force, whatever the number of processes; misconduct is planted as behaviour in
events, and no column of a borough's tables says who was planted; nothing here reads a detector or a feature. Every
distribution is stated in deploy/force/README.md. The generator is seeded and not cryptographic: it makes test
records, never privacy noise.
"""
