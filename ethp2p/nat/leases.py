"""
One port kept mapped: asked for, renewed before it ends, given back.

A decision without clock or network: what happened goes in, L{Lease.next_command} says what to do.  Figures as geth's.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, Union

import attrs
from automat import TypeMachineBuilder

from ethp2p.nat.wire import Transport

#: Seconds that a mapping is asked for, and after which it is renewed.
LIFETIME, REFRESH = 600, 480.0
#: What part of a shorter time granted may pass before it is renewed, and the least, whatever is granted.
REFRESH_PART, LEAST_REFRESH = 0.8, 30.0
#: Seconds until it is tried again.
RETRY = 300.0
#: Failures to renew after which it is given up, and begun anew.  Until then it may well be there still.
MAX_FAILURES = 5


@attrs.frozen
class Map:
    """
    Ask the gateway for the mapping, and tell L{Lease.granted} or L{Lease.refused}.
    """

    #: The port wanted outside.
    external: int
    lifetime: int = LIFETIME


@attrs.frozen
class Unmap:
    """
    Ask the gateway to end it, and tell L{Lease.unmapped} when it has answered or does not.
    """

    external: int


@attrs.frozen
class Mapped:
    """
    The port outside is another now; 0: none.
    """

    external: int


Command = Union[Map, Unmap, Mapped]


class _Inputs(Protocol):
    def start(self) -> None: ...

    def renew(self) -> None: ...

    def granted(self, external: int, lifetime: float, now: float) -> None: ...

    def refused(self, now: float) -> None: ...

    def gave_up(self, now: float) -> None: ...

    def stop(self) -> None: ...

    def unmapped(self) -> None: ...


@attrs.define
class _Core:
    internal: int
    external: int = 0
    failures: int = 0
    due: float | None = None
    ended: bool = False
    commands: deque[Command] = attrs.field(factory=deque)


_builder = TypeMachineBuilder(_Inputs, _Core)
_idle = _builder.state("idle")
_asking = _builder.state("asking")  # nothing is held, a request is under way
_waiting = _builder.state("waiting")  # nothing is held, until it is tried again
_held = _builder.state("held")
_renewing = _builder.state("renewing")
_leaving = _builder.state("leaving")  # stopped while asking
_leaving_held = _builder.state("leaving held")  # stopped while renewing
_releasing = _builder.state("releasing")
_ended = _builder.state("ended")


@_idle.upon(_Inputs.start).to(_asking)
@_waiting.upon(_Inputs.renew).to(_asking)
@_held.upon(_Inputs.renew).to(_renewing)
def _ask(inputs: _Inputs, core: _Core) -> None:
    core.due = None
    core.commands.append(Map(core.external or core.internal))


@_asking.upon(_Inputs.granted).to(_held)
@_renewing.upon(_Inputs.granted).to(_held)
def _hold(inputs: _Inputs, core: _Core, external: int, lifetime: float, now: float) -> None:
    core.failures = 0
    core.due = now + min(REFRESH, max(LEAST_REFRESH, lifetime * REFRESH_PART))
    if core.external != external:
        core.external = external
        core.commands.append(Mapped(external))


@_asking.upon(_Inputs.refused).to(_waiting)
@_asking.upon(_Inputs.gave_up).to(_waiting)
@_renewing.upon(_Inputs.refused).to(_held)
def _try_later(inputs: _Inputs, core: _Core, now: float) -> None:
    core.failures += 1
    core.due = now + RETRY


@_renewing.upon(_Inputs.gave_up).to(_waiting)
def _give_up(inputs: _Inputs, core: _Core, now: float) -> None:
    core.commands += Unmap(core.external), Mapped(0)
    core.external = core.failures = 0
    core.due = now + RETRY


@_leaving.upon(_Inputs.granted).to(_releasing)
@_leaving_held.upon(_Inputs.granted).to(_releasing)
def _return(inputs: _Inputs, core: _Core, external: int, lifetime: float, now: float) -> None:
    core.commands.append(Unmap(external))


@_held.upon(_Inputs.stop).to(_releasing)
def _release(inputs: _Inputs, core: _Core) -> None:
    core.due = None
    core.commands.append(Unmap(core.external))


@_leaving_held.upon(_Inputs.refused).to(_releasing)
@_leaving_held.upon(_Inputs.gave_up).to(_releasing)
def _release_after_all(inputs: _Inputs, core: _Core, now: float) -> None:
    core.commands.append(Unmap(core.external))


@_leaving.upon(_Inputs.refused).to(_ended)
@_leaving.upon(_Inputs.gave_up).to(_ended)
def _end_refused(inputs: _Inputs, core: _Core, now: float) -> None:
    core.ended = True


@_idle.upon(_Inputs.stop).to(_ended)
@_waiting.upon(_Inputs.stop).to(_ended)
@_releasing.upon(_Inputs.unmapped).to(_ended)
def _end(inputs: _Inputs, core: _Core) -> None:
    core.due = None
    core.ended = True


_asking.upon(_Inputs.stop).to(_leaving).returns(None)
_renewing.upon(_Inputs.stop).to(_leaving_held).returns(None)
for _state, _without_effect in (
    (_idle, (_Inputs.renew, _Inputs.unmapped)),
    (_asking, (_Inputs.renew, _Inputs.unmapped)),
    (_waiting, (_Inputs.unmapped,)),
    (_held, (_Inputs.unmapped,)),
    (_renewing, (_Inputs.renew, _Inputs.unmapped)),
    (_leaving, (_Inputs.renew, _Inputs.unmapped, _Inputs.stop)),
    (_leaving_held, (_Inputs.renew, _Inputs.unmapped, _Inputs.stop)),
    (_releasing, (_Inputs.renew, _Inputs.stop)),
    (_ended, (_Inputs.renew, _Inputs.unmapped, _Inputs.stop)),
):
    for _input in _without_effect:
        _state.upon(_input).loop().returns(None)

_Machine = _builder.build()


class Lease:
    """
    The mapping of one port.
    """

    def __init__(self, transport: Transport, internal: int) -> None:
        """@param internal: the port of our listener, also the one wanted outside."""
        self.transport = transport
        self.internal = internal
        #: Why the last request was refused.
        self.why = ""
        self._core = _Core(internal)
        self._machine = _Machine(self._core)

    @property
    def external(self) -> int:
        """The port outside, 0 while there is none."""
        return self._core.external

    @property
    def ended(self) -> bool:
        """Whether it was stopped and nothing is left to do."""
        return self._core.ended

    def start(self) -> None:
        """Begin.  Once."""
        self._machine.start()

    def granted(self, external: int, lifetime: float, now: float) -> None:
        """The gateway maps the port, for so many seconds."""
        self._machine.granted(external, lifetime, now)

    def refused(self, why: str, now: float) -> None:
        """The gateway does not, or does not answer."""
        self.why = why
        if self._core.failures + 1 >= MAX_FAILURES:
            self._machine.gave_up(now)
        else:
            self._machine.refused(now)

    def unmapped(self) -> None:
        """The gateway ended the mapping, or could not be asked to."""
        self._machine.unmapped()

    def renew(self) -> None:
        """It may be gone: the gateway was restarted, or we are somewhere else."""
        self._machine.renew()

    def stop(self) -> None:
        """Give it back."""
        self._machine.stop()

    def next_command(self) -> Command | None:
        """What to do now."""
        return self._core.commands.popleft() if self._core.commands else None

    def next_timer(self) -> float | None:
        """When to call L{handle_timer}."""
        return self._core.due

    def handle_timer(self, now: float) -> None:
        """It may be time to ask."""
        if self._core.due is not None and self._core.due <= now:
            self._machine.renew()
