#pragma once
// glibc gave exp a new version in 2.29, which differs from the older one only in that it sets no errno; a binary that asks for the older one
// runs on systems back to 2.28. To be included where exp is called.
#if defined(__linux__) && defined(__GLIBC__)
#if defined(__x86_64__)
__asm__(".symver exp,exp@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver exp,exp@GLIBC_2.17");
#endif
#endif
