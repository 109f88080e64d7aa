// Include this last: from here to the end of the file the compiler may not fuse a product and a sum
// into one rounding, so every machine gives the bits that the formats define.
#pragma once

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
