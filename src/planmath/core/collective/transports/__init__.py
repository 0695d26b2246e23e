"""The ways in which messages get from rank to rank."""

from planmath.core.collective.exchange import Transport
from planmath.core.collective.transports.ipc import IPCTransport
from planmath.core.collective.transports.mapped import MappedTransport
from planmath.core.collective.transports.messages import BroadcastTransport, MPITransport, TorchTransport
from planmath.core.collective.transports.nccl import NCCLTransport
from planmath.core.collective.transports.single import SingleTransport

#: In order of preference.
TRANSPORTS: tuple[Transport, ...] = (
    SingleTransport(), MappedTransport(), IPCTransport(), NCCLTransport(), MPITransport(), TorchTransport(),
    BroadcastTransport(),
)  # fmt: skip
