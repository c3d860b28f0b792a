"""The agent: it takes events, steps its machines, and hands their commands to the effects."""

from lessee.agent.effects import Effects, Keeper, Shelf
from lessee.agent.loop import Agent

__all__ = ["Agent", "Effects", "Keeper", "Shelf"]
