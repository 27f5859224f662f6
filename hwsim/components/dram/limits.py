"""Say in closed form what a device can reach at most, and at least, from its timings alone."""

from __future__ import annotations

from fractions import Fraction

from hwsim.components.dram.devices import Device

__all__ = ["binding_rule", "random_limits", "refresh_limit", "slowest_bytes_per_s"]


def refresh_limit(device: Device) -> Fraction:
    """Return the share of time in which all-bank refresh leaves a rank to others."""
    return 1 - Fraction(device.timings["RFC_AB"], device.timings["REFI"])


def random_limits(device: Device) -> dict[str, Fraction]:
    """Return, rule by rule, the share of the peak that bursts in random rows reach at most.

    Each burst activates a row and precharges it later. ``bus``: data of one burst after the other;
    ``tRRD``, ``tFAW``: activates of a rank; ``tRC``: activates of a bank, all banks in use;
    ``commands``: the command bus (HBM: the row bus, which pseudo channels share). Refresh takes
    its part of each. The least is the bound.
    """
    t = device.timings
    data = Fraction(t["BL"])
    row_commands = t["CMD_ACT"] + t["CMD_PRE"]
    commands = row_commands if device.family == "hbm" else row_commands + t["CMD_CAS"]
    limits = {
        "bus": data / max(t["BL"], t["CCD_S"]),
        "tRRD": data * device.ranks / t["RRD_S"],
        "tFAW": data * device.ranks * 4 / t["FAW"],
        "tRC": data * device.banks / t["RC"],
        "commands": data / (commands * device.pseudo_channels),
    }
    return {name: min(share, Fraction(1)) * refresh_limit(device) for name, share in limits.items()}


def binding_rule(device: Device) -> str:
    """Return the rule that limits random bursts most."""
    limits = random_limits(device)
    return min(limits, key=lambda name: limits[name])


def slowest_bytes_per_s(device: Device) -> Fraction:
    """Return a rate that serving requests burst by burst, nothing overlapping, exceeds.

    A burst may have to wait for the row before it (written, to be precharged), for both bus
    turnarounds and for its own activate, and refresh may stretch everything.
    """
    t = device.timings
    serial = t["RC"] + t["CWL"] + t["WR"] + t["RP_AB"] + t["RCD_RD"] + t["RCD_WR"] + t["CL"]
    serial += 2 * t["BL"] + t["WTR_L"] + t["RTW"] + t["CMD_ACT"] + t["CMD_CAS"] + t["CMD_PRE"]
    stolen = t["RFC_AB"] + serial
    rate = Fraction(device.burst_bytes * device.clock_hz, serial)
    return rate * max(1 - Fraction(stolen, t["REFI"]), Fraction(1, 10))
