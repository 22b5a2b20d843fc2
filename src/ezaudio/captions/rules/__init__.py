"""Captions written by rule: events with times become a timeline, and the timeline a sentence."""
