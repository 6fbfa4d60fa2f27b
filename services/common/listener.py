"""A port that two processes of one service listen on while the newer takes over from the older."""

from __future__ import annotations

import ctypes
import socket
import struct

_ATTACH_PROGRAM = 51  # SO_ATTACH_REUSEPORT_CBPF, asm-generic/socket.h
_RETURN_CONSTANT = 0x06  # BPF_RET | BPF_K, linux/bpf_common.h


def shared(host: str, port: int) -> socket.socket:
    """A socket on a port that others of the same user may listen on, too.

    Raises:
        OSError: somebody listens there alone.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    return made


def leave_to_neighbour(listener: socket.socket) -> None:
    """Have new connections go to the other process on the port, so that closing ours loses none that wait in it.

    The kernel asks a program which listener takes a connection; ours always names the second. They are numbered by age,
    and who leaves is the older. Alone on the port nothing changes: there is no second one, and the kernel takes the first.

    Raises:
        OSError: not on this system; then connections that arrive just before the end may be reset.

    Source: SO_ATTACH_REUSEPORT_CBPF in socket(7).
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, 1))
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH_PROGRAM, struct.pack("HP", 1, ctypes.addressof(instruction)))
