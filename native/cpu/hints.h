// What compilers are told beyond the language: unrolling, inlining, fetching ahead, an order of sums.
#pragma once

#include "cpu/target.h"

#if defined(__clang__)
#define ASDM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define ASDM_UNROLL _Pragma("GCC unroll 32")
#else
#define ASDM_UNROLL
#endif

#if defined(_MSC_VER)
#define ASDM_NOINLINE __declspec(noinline)
#else
#define ASDM_NOINLINE __attribute__((noinline))
#endif

// Into the first-level cache, and into the second.
#if defined(__GNUC__)
#define ASDM_PREFETCH(p) __builtin_prefetch(p)
#define ASDM_PREFETCH_L2(p) __builtin_prefetch(p, 0, 2)
#else
#define ASDM_PREFETCH(p) (void)(p)
#define ASDM_PREFETCH_L2(p) (void)(p)
#endif

// Between two additions to a vector of integers: they stay two. GCC would add up the products of an unrolled loop first, as it may where
// nothing is rounded, and have more of them at a time than there are registers.
#if defined(__GNUC__) && !defined(__clang__) && defined(ASDM_X86)
#define ASDM_IN_ORDER(v) __asm__("" : "+v"(v))
#elif defined(__GNUC__) && !defined(__clang__) && defined(ASDM_ARM64)
#define ASDM_IN_ORDER(v) __asm__("" : "+w"(v))
#else
#define ASDM_IN_ORDER(v) (void)(v)
#endif
