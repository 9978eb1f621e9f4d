// What compilers are told beyond the language: unrolling, inlining, fetching ahead. ASDM_PREFETCH fetches into the first-level cache.
#pragma once

#if defined(__clang__)
#define ASDM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define ASDM_UNROLL _Pragma("GCC unroll 32")
#else
#define ASDM_UNROLL
#endif

#if defined(_MSC_VER)
#define ASDM_NOINLINE __declspec(noinline)
#define ASDM_PREFETCH(p) (void)(p)
#else
#define ASDM_NOINLINE __attribute__((noinline))
#define ASDM_PREFETCH(p) __builtin_prefetch(p)
#endif
