// Target regions: functions between BEGIN and END are compiled for the named x86 features, whatever the file's flags are, so that
// one binary holds several instruction sets and no build needs per-file flags. Include standard headers before a region, and use
// no standard containers or algorithms inside one: an instantiation compiled for AVX-512 could be the one the linker keeps.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#define ASDM_X86 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define ASDM_ARM64 1
#endif

#define ASDM_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define ASDM_TARGET_BEGIN(features) ASDM_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define ASDM_TARGET_END ASDM_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define ASDM_TARGET_BEGIN(features) ASDM_PRAGMA(GCC push_options) ASDM_PRAGMA(GCC target(features))
#define ASDM_TARGET_END ASDM_PRAGMA(GCC pop_options)
#else  // MSVC compiles any intrinsic anywhere; before its version 19.30 it contracts multiplications and additions unless told not to
#define ASDM_TARGET_BEGIN(features) __pragma(fp_contract(off))
#define ASDM_TARGET_END
#endif

#define ASDM_AVX2_FEATURES "avx2,fma,f16c"
#define ASDM_AVX512_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define ASDM_AVX512VNNI_FEATURES "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define ASDM_AVX512BF16_FEATURES "avx512bf16,avx512vbmi,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
// Older compilers do not know this one.
#if defined(_MSC_VER) || (defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11)
#define ASDM_HAS_AVXVNNI 1
#define ASDM_AVXVNNI_FEATURES "avxvnni,avx2,fma,f16c"
#endif
// Nor these, and no Mac has them. GCC for Windows writes instructions that are none for tile loads before version 13.
#if defined(ASDM_X86) && !defined(__APPLE__) && !(defined(__MINGW32__) && !defined(__clang__) && __GNUC__ < 13)
#if (defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && defined(_MSC_VER) && _MSC_VER >= 1930) || \
    (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11)
#define ASDM_HAS_AMX 1
#define ASDM_AMX_FEATURES "amx-tile,amx-bf16,amx-int8,avx512bf16,avx512vbmi,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#endif
#endif

#if defined(__clang__)
#define ASDM_DOTPROD_FEATURES "dotprod"
#else
#define ASDM_DOTPROD_FEATURES "arch=armv8.2-a+dotprod"
#endif

#if defined(_MSC_VER)
#define ASDM_INLINE __forceinline
#define ASDM_RESTRICT __restrict
#else
#define ASDM_INLINE inline __attribute__((always_inline))
#define ASDM_RESTRICT __restrict__
#endif
