"""The demo: one federation, one plan, one policy, one warrant, one name; every step over the real wire."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path
from typing import Any

from borough_node.sources.contract.cutoffs import date_of
from coordinator.registry.drafting import draft_policy
from deploy.demo.narration import Narrator, ReleaseBars
from deploy.demo.scenario import Scenario
from deploy.demo.truth import Truth
from deploy.local import Layout, LocalFederation, create
from oversight.audit.verify import verify_directory
from oversight.custody.desk import CustodianDesk
from oversight.reports.model_card import model_card, write_card
from protocol.aggregation.accounting import mu_of, rho_of
from protocol.clock import SystemClock
from protocol.documents.cases import Warrant, WarrantFlag
from protocol.documents.flags import FlagHeader, Waiver
from protocol.documents.roster import Budget
from protocol.errors import CohortTooSmall
from protocol.history.public import PlanRecord
from protocol.ids import Digest, random_id
from protocol.scorecard.curves import area_under_curve
from protocol.scorecard.evaluation import evaluate
from protocol.scorecard.gates import gate_verdicts
from protocol.sealing.pseudonym import PseudonymKey
from protocol.signing.dsse import Envelope

DEMO_REASON = "A demonstration: nobody is investigated on these flags."
ISSUING_OFFICER = "Superintendent B. Example"
READERS = 2
"""Boroughs that read at once: here they share one machine's cores and memory."""
BUDGET_PLANS = 2
"""The demo's roster lets this many such plans be approved in 365 days."""


class Story:
    """One run of the demo."""

    def __init__(self, scenario: Scenario, *, directory: Path, out: Path, narrator: Narrator) -> None:
        self._scenario = scenario
        self._directory = directory
        self._out = out
        self._narrator = narrator
        self._clock = SystemClock()
        self._reports: list[str] = []

    def run(self) -> dict[str, Any]:
        """Tell the whole story and return its summary. Raises: what any party refuses."""
        scenario, narrator = self._scenario, self._narrator
        narrator.step(
            "keys",
            f"Keys, certificates and the roster for {scenario.title}: {len(scenario.records)} boroughs, "
            "a coordinator, an unmasker, three custodians, three witnesses, an issuer, an investigator.",
        )
        choices = scenario.choices
        rho = rho_of(mu_of(epsilon=choices.epsilon, delta=choices.delta))
        layout = create(
            self._directory / "federation",
            force="example-force",
            tables=scenario.records,
            catalogue=scenario.catalogue_path,
            budgets=[Budget(purpose=choices.purpose, rho=BUDGET_PLANS * rho)],
            reply_slot_seconds=choices.reply_slot_seconds,
            clock=self._clock,
        )
        bars = ReleaseBars(narrator.console)
        with LocalFederation(layout, self._clock, self._report, bars) as federation:
            for borough in scenario.records:
                federation.start_node(borough)
            self._truth = self._read(federation)
            desks = [federation.custodian(number) for number in (1, 2, 3)]
            record = self._train(federation, desks, bars)
            headers = self._flag(federation, desks, record)
            opening, named = self._open(federation, desks, headers)
            self._export(federation, layout)
        narrator.step(
            "audit", "An auditor, offline, checks the log from its static files alone and recomputes the model."
        )
        audit = verify_directory(self._out / "log", genesis=layout.genesis, on=self._clock.now().date())
        narrator.say(f"All {audit.size} entries hold: signatures, quorums, spending, every unmasking, every opening.")
        truth = self._truth.measure(record.model(), headers, named)
        narrator.finish()
        return self._summary(
            record,
            headers,
            opening,
            dataclasses.asdict(audit),
            {category: dataclasses.asdict(figures) for category, figures in truth.items()},
        )

    def _read(self, federation: LocalFederation) -> Truth:
        """Have every node read its records now; in a force each would do so alone, at its first release."""
        scenario, narrator = self._scenario, self._narrator
        count = f"{len(scenario.catalogue.features)} features of each person"
        if scenario.truth is None:
            narrator.step("records", f"Each borough reads and checks its own table: {count} and cutoff.")
        else:
            days = [str(date_of(cutoff)) for cutoff in range(scenario.train_from, scenario.evaluation_cutoff + 1)]
            narrator.step(
                "records",
                f"Each borough checks its own tables and computes {count}, as of {' and '.join(days)}. What was entered, "
                "amended or found later is not in them; findings made later than the last day are no labels to train on.",
            )
        nodes = federation.nodes
        with narrator.counting("boroughs ready") as told, ThreadPoolExecutor(READERS) as pool:
            reading = [pool.submit(node.records.table, scenario.catalogue) for node in nodes.values()]
            for done, future in enumerate(as_completed(reading), start=1):
                future.result()
                told(done, len(nodes))
        return Truth(scenario, {name: node.records.table(scenario.catalogue) for name, node in nodes.items()})

    def _report(self, party: str, code: str, detail: str) -> None:
        self._reports.append(f"{party}: {code}: {detail}")

    # --- the plan -----------------------------------------------------------------------------------------------

    def _train(self, federation: LocalFederation, desks: list[CustodianDesk], bars: ReleaseBars) -> PlanRecord:
        scenario, narrator, coordinator = self._scenario, self._narrator, federation.coordinator
        narrator.step(
            "plan",
            "The coordinator proposes a plan; two of three custodians recompute its noise and its cost "
            "and sign it. No borough acts on anything else.",
        )
        plan = federation.propose_plan(
            scenario.choices,
            scenario.catalogue,
            establishment=scenario.establishment,
            train_from=scenario.train_from,
            train_until=scenario.train_until,
            evaluation_cutoff=scenario.evaluation_cutoff,
        )
        digest = plan.digest()
        federation.endorse(digest, *desks[:2])
        narrator.say(
            f"Epsilon {plan.privacy.epsilon:g} at delta {plan.privacy.delta:g} for everything the plan does, "
            f"{plan.privacy.min_boroughs} of {len(plan.boroughs)} boroughs at least."
        )
        narrator.step(
            "training",
            "The boroughs train: each clips, adds noise and masks its own sum; the coordinator adds "
            "masked numbers, the unmasker hands out the sum of masks only when its receipt is in the log.",
        )
        bars.watch(plan)
        with bars.progress:
            coordinator.run_plan(digest)
        record = coordinator.appender.history.public.plan(digest)
        narrator.say("The unmasker has destroyed the plan's key; what was masked stays masked.")
        return record

    # --- flags --------------------------------------------------------------------------------------------------

    def _flag(self, federation: LocalFederation, desks: list[CustodianDesk], record: PlanRecord) -> list[FlagHeader]:
        narrator, coordinator = self._narrator, federation.coordinator
        narrator.step(
            "policy",
            "The custodians recompute the model from the published sums before they sign a flag policy: "
            "weights made to single somebody out would not match.",
        )
        for head in evaluate(record.run):
            area = area_under_curve(head)
            shown = "hidden by the noise" if area.value is None else f"{area.value:.2f}"
            narrator.say(
                f"{head.category}: AUC from the private sum {shown} (95 % interval {area.low:.2f} to {area.high:.2f})"
            )
        verdicts = gate_verdicts(record.run)
        for verdict in verdicts:
            narrator.say(f"fairness gate, {verdict}")
        policy = draft_policy(
            self._scenario.choices,
            record=record,
            roster=coordinator.roster(),
            now=self._clock.now(),
            # A force would leave the category out, or mitigate. The demonstration goes on to show the flags.
            waivers=tuple(
                Waiver(category=one.category, attribute=one.attribute, reason=DEMO_REASON)
                for one in verdicts
                if one.needs_waiver
            ),
        )
        for rule in policy.rules:
            narrator.say(
                f"{rule.category}: would a rerun flag the same people? Flags say so."
                if rule.shows_stability
                else f"{rule.category}: how stable its flags are is not known well enough to be said."
            )
        digest = coordinator.propose("policy", policy)
        federation.endorse(digest, *desks[:2])
        narrator.step(
            "flags",
            "Each borough scores its own people and raises flags: a pseudonym, a category, reasons, and a "
            "sealed envelope that no single party can open.",
        )
        confirmed, asked = coordinator.collect_flags(digest)
        if missing := sorted(set(asked) - set(confirmed)):
            raise CohortTooSmall(f"boroughs that did not confirm their flags: {', '.join(missing)}")
        headers = federation.issuer().flags(by=ISSUING_OFFICER, reason="First look at the flags (demonstration).")
        counts = Counter(header.category for header in headers)
        narrator.say(
            ", ".join(f"{counts[category]} {category}" for category in record.plan.categories)
            + ". Each borough saw its flags in the witnessed log."
        )
        narrator.step(
            "custody", "Each custodian fetches its share of every flag and checks it against the signed header."
        )
        arrived = [desk.collect_shares() for desk in desks]
        narrator.say(f"{arrived[0]} shares each, all consistent.")
        return headers

    # --- one name -----------------------------------------------------------------------------------------------

    def _open(
        self, federation: LocalFederation, desks: list[CustodianDesk], headers: list[FlagHeader]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        narrator = self._narrator

        def key_of(borough: str, plan: Digest) -> PseudonymKey:
            return federation.nodes[borough].ledger.pseudonym_key(plan)

        named = self._truth.name_flags(headers, key_of)
        if not headers:
            narrator.step("warrant", "No flag was raised, so there is nothing to open.")
            return {"identity_matches": None}, named
        header = next((one for one in headers if one.score_band == "high"), headers[0])
        narrator.step(
            "warrant",
            "Triage picks one flag; the issuer signs a warrant that names it, its purpose and its legal "
            "basis; both go into the log first.",
        )
        federation.team().triage(
            header.flag_id,
            by="Analyst A. Example",
            decision="pursue",
            reasons="Highest score band of its category (demonstration).",
        )
        investigator, issuer = federation.investigator(), federation.issuer()
        now = self._clock.now()
        warrant = Warrant(
            warrant_id=random_id(),
            issuer=issuer.id,
            investigator=investigator.id,
            flags=(WarrantFlag(flag_id=header.flag_id, header=header.digest()),),
            purpose=f"Preliminary assessment of one flag in category {header.category} (demonstration).",
            regime="DPA 2018 Part 3",
            legal_basis="Law enforcement purpose, DPA 2018 s.35 (demonstration).",
            necessity="The reasons given cannot be assessed without knowing whose records they are (demonstration).",
            proportionality="One flag, one recipient, seven days; the person is notified after assessment (demonstration).",
            recipient_key=investigator.new_recipient_key(),
            issued_at=now,
            valid_from=now,
            valid_until=now + timedelta(days=7),
            disclosure_on=now + timedelta(days=90),
        )
        digest = issuer.issue(warrant)
        narrator.step(
            "approval",
            "Two custodians verify the warrant in the log and approve; each seals its share again, to "
            "this warrant's recipient alone.",
        )
        for desk in desks[:2]:
            desk.decide(
                digest, header.flag_id, decision="approve", reasons="Necessary and proportionate (demonstration)."
            )
        narrator.step(
            "opening", "The investigator logs the opening, receives the ciphertext, and opens exactly one flag."
        )
        opened = investigator.open(digest, header.flag_id)
        matches = opened.identity == named[header.flag_id]
        kind = self._truth.kind(opened.identity, header.category)
        narrator.say(
            f"The name in the envelope is {'the person that the borough flagged' if matches else 'ANOTHER PERSON'}. "
            f"Reasons: {', '.join(header.reasons) or 'withheld'}; stability {header.stability_band}."
            + (f" In truth: {kind}." if kind else "")
        )
        return {
            "flag_id": header.flag_id,
            "borough": header.borough,
            "category": header.category,
            "identity_matches": matches,
            "in_truth": kind,
            "approvals": 2,
            "other_flags_opened": 0,
        }, named

    # --- what stays ---------------------------------------------------------------------------------------------

    def _export(self, federation: LocalFederation, layout: Layout) -> None:
        """Write what is public, plus the demonstration's case documents and ledgers; no key and no record."""
        out = self._out
        if (out / "log").exists():
            shutil.rmtree(out / "log")
        shutil.copytree(layout.log, out / "log")
        (out / "genesis").write_text(layout.genesis + "\n")
        history = federation.coordinator.appender.history
        documents = out / "documents"
        shutil.rmtree(documents, ignore_errors=True)
        documents.mkdir(parents=True)
        for index, skeleton in enumerate(history.skeletons):
            if skeleton.document is not None:
                payload = Envelope.decode(skeleton.document.encode()).payload_bytes()
                _write_json(documents / f"{index:06d}-{skeleton.kind}.json", json.loads(payload))
        for flag in federation.coordinator.cases.all_flags():
            payload = Envelope.decode(flag.envelope).payload_bytes()
            _write_json(documents / f"{flag.leaf:06d}-flag.json", json.loads(payload))
        for case in federation.coordinator.cases.case_documents():
            payload = Envelope.decode(case.envelope).payload_bytes()
            _write_json(documents / f"{case.index:06d}-{case.kind}.json", json.loads(payload))
        ledgers = out / "ledgers"
        shutil.rmtree(ledgers, ignore_errors=True)
        ledgers.mkdir(parents=True)
        for borough, node in federation.nodes.items():
            entries = [{"number": e.number, "hash": e.hash, **e.content} for e in node.ledger.entries()]
            _write_json(ledgers / f"{borough}.json", entries)
        for plan in history.public.plans:
            write_card(model_card(history, plan), out)

    def _summary(
        self,
        record: PlanRecord,
        headers: list[FlagHeader],
        opening: dict[str, Any],
        audit: dict[str, Any],
        categories: dict[str, Any],
    ) -> dict[str, Any]:
        plan = record.plan
        for head in evaluate(record.run):
            categories[head.category]["private_auc"] = dataclasses.asdict(area_under_curve(head))
        counts = Counter(header.category for header in headers)
        return {
            "scenario": self._scenario.title,
            "force": self._scenario.force,
            "people": plan.people,
            "boroughs": len(plan.boroughs),
            "privacy": {
                "epsilon": plan.privacy.epsilon,
                "delta": plan.privacy.delta,
                "unit": plan.privacy.unit,
                "statements": [statement.model_dump(mode="json") for statement in plan.statements],
                "flags": "outside epsilon: a flag is a deliberate disclosure about one person, bounded by cap and header",
            },
            "releases": len(record.releases),
            "categories": categories,
            "flags_by_category": {category: counts[category] for category in plan.categories},
            "opening": opening,
            "audit": {"ok": True, **audit},
            "log_size": audit["size"],
            "reports": self._reports,
            "seconds": self._narrator.seconds,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
