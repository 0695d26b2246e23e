"""What an exchange is expected to take: a latency for each message, and the time of the bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from planmath.core.collective.exchange import Traffic
from planmath.core.log import format_seconds


@dataclass(frozen=True, slots=True)
class Network:
    """How fast messages are.

    Parameters
    ----------
    latency : float
        Seconds for each message.
    bandwidth : float
        Bytes a second that a rank sends while it receives as many.
    """

    latency: float = 2e-6
    bandwidth: float = 25e9

    def seconds(self, messages: int, size: float) -> float:
        """The time of an exchange in which a rank sends so many messages of so many bytes together.

        Examples
        --------
        >>> round(Network().seconds(2047, 33.5e6) * 1e3, 2)  # a cube of 2048, complex64, between 2048 ranks
        5.43
        """
        return messages * self.latency + size / self.bandwidth


#: What transports between devices reach on two H200 that NVLink connects: barriers, pushes and packed messages there.
DEVICES = {"ipc": Network(8e-6, 375e9), "nccl": Network(2e-5, 270e9)}


def network(transport: str = "") -> Network:
    """What PLANMATH_DISTRIBUTED_NETWORK says, ``latency,bandwidth`` in seconds and bytes a second; else a usual one.

    Parameters
    ----------
    transport : str, optional
        By what messages are sent.

    Raises
    ------
    ValueError
        If the variable has another form.
    """
    text = os.environ.get("PLANMATH_DISTRIBUTED_NETWORK")
    if text is None:
        return DEVICES.get(transport, Network())
    try:
        latency, bandwidth = map(float, text.split(","))
        if not (latency >= 0 and bandwidth > 0):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"PLANMATH_DISTRIBUTED_NETWORK is {text!r}; expected seconds a message, bytes a second, as in '2e-6,25e9'"
        ) from None
    return Network(latency, bandwidth)


def exchange_seconds(traffic: Traffic, transport: str = "") -> float:
    """The time expected on this rank."""
    return network(transport).seconds(len(traffic.sent), traffic.bytes_sent)


def exchange_report(traffic: Traffic, transport: str, title: str = "exchange") -> Sequence[str]:
    """Who sends what by a transport, as lines of text: of this rank, and its largest message."""
    size = traffic.moves.itemsize
    received = sum(m.elements for m in traffic.received) * size
    kept = traffic.own.elements * size if traffic.own else 0
    lines = [
        f"{title}: rank {traffic.rank} of {len(traffic.moves.sources)} sends {len(traffic.sent)} messages, "
        f"{traffic.bytes_sent} bytes; receives {len(traffic.received)}, {received} bytes; keeps {kept} bytes",
    ]
    if traffic.sent:
        largest = max(traffic.sent, key=lambda m: m.elements)
        net = network(transport)
        lines.append(
            f"  the largest, of {largest.elements * size} bytes, to rank {largest.target}; expected "
            f"{format_seconds(exchange_seconds(traffic, transport))} at {format_seconds(net.latency)} a message and "
            f"{net.bandwidth / 1e9:g} GB/s"
        )
    return lines
