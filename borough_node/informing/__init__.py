"""Telling data subjects what they may know, and carrying to the centre what they say."""
