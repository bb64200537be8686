"""Compiled: exponentials and logarithms of many numbers, by arithmetic alone.

Processors take several numbers at a time so; the usual functions are called number by number, and
take five times as long.
"""

from math import factorial

import numba
import numpy as np

#: The logarithm of two in two parts, of which the first has zeros for its last digits.
LOG_2, REST_OF_LOG_2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
#: Added to a number, it leaves the nearest integer in the last bits.
SHIFTER = 1.5 * 2.0**52
SHIFTED = np.int64(np.float64(SHIFTER).view(np.int64))
#: Bits of the root of one half, and of the exponent; the exponent's place.
HALF_ROOT, EXPONENT, PLACE = np.int64(0x3FE6A09E00000000), np.int64(-(1 << 52)), 52
#: Exponents beyond which a number would be infinite, or zero.
MOST = 700.0
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12 = (1 / factorial(k) for k in range(2, 13))


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def exponentials(x, n, out, room):
    """Put the exponentials of the first n rows of x, cut off at `MOST`, into out.

    The three arrays have two axes and are not the same; what was in `room` is lost. The error is
    in the last digit.
    """
    bits, shifts = out.view(np.int64), room.view(np.int64)
    for i in range(n):
        for c in range(x.shape[1]):
            v = min(max(x[i, c], -MOST), MOST)
            shifted = v / np.log(2.0) + SHIFTER
            room[i, c] = shifted
            k = shifted - SHIFTER
            r = v - k * LOG_2 - k * REST_OF_LOG_2
            high = C7 + r * (C8 + r * (C9 + r * (C10 + r * (C11 + r * C12))))
            out[i, c] = 1 + r * (
                1 + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * high)))))
            )
        for c in range(x.shape[1]):
            bits[i, c] += shifts[i, c] << PLACE


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
def logarithms(x, n, out, room):
    """Put the logarithms of the first n rows of x, all positive, into out; as above."""
    given, bits, exponents = x.view(np.int64), out.view(np.int64), room.view(np.int64)
    for i in range(n):
        for c in range(x.shape[1]):
            from_root = given[i, c] - HALF_ROOT
            bits[i, c] = given[i, c] - (from_root & EXPONENT)
            exponents[i, c] = (from_root >> PLACE) + SHIFTED
        for c in range(x.shape[1]):
            k, s = room[i, c] - SHIFTER, (out[i, c] - 1) / (out[i, c] + 1)
            z = s * s
            high = 1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19 + z / 21))))
            tail = z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * high))))
            out[i, c] = k * LOG_2 + (k * REST_OF_LOG_2 + 2 * s * (1 + tail))
