{
  # What node-gyp builds, for the binding.gyp of a checkout and for the one that `asdm build` writes: a package with that file in it would be
  # compiled by every package manager at installation. CMakeLists.txt builds the same. The sources are listed in native/sources.json alone.
  'variables': {
    # The testing addon exists in a checkout of the repository, not in the published package.
    'asdm_testing%': '<!(node -p "Number(require(\'fs\').existsSync(\'native/testing\'))")',
  },
  'target_defaults': {
    'include_dirs': ['.'],
    'defines': ['NAPI_VERSION=8', 'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED', 'NAPI_CPP_EXCEPTIONS'],
    'cflags!': ['-fno-exceptions'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++14', '-std=gnu++17', '-std=gnu++20', '-std=c++20'],
    # No contraction: where a multiplication and an addition become one is written in the kernels, not left to the compiler.
    # No errno from math functions, which would keep square roots from being vectorised.
    # GCC 12 warns about its own AVX-512 header, whose undefined values are meant to be undefined.
    # Clang knows one of the two options alone, and would say so for every file.
    'cflags': ['-Wno-unknown-warning-option', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
    'cflags_cc': ['-O3', '-std=c++17', '-fexceptions', '-ffp-contract=off', '-fno-math-errno', '-fvisibility=hidden', '-fPIC'],
    # Node's own settings, which node-gyp adds, would win over what stood here plainly: they forbid exceptions. These conditions come after them.
    'target_conditions': [
      # The C++ library goes in, so that a binary needs of a system no more than its C library; its symbols stay to themselves.
      ['OS=="linux" and _type!="static_library"', {
        'ldflags': ['-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-Wl,-Bsymbolic'],
      }],
      ['OS=="mac"', {
        'xcode_settings': {
          'MACOSX_DEPLOYMENT_TARGET': '11.0',
          'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
          'CLANG_CXX_LIBRARY': 'libc++',
          'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
          'GCC_ENABLE_CPP_RTTI': 'YES',
          'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
          'GCC_OPTIMIZATION_LEVEL': '3',
          'OTHER_CPLUSPLUSFLAGS': ['-ffp-contract=off', '-fno-math-errno'],
        },
      }],
      ['OS=="win"', {
        'defines!': ['_HAS_EXCEPTIONS=0'],
        'defines': ['NOMINMAX', 'WIN32_LEAN_AND_MEAN', '_CRT_SECURE_NO_WARNINGS'],
        'msvs_settings': {
          'VCCLCompilerTool': {
            'ExceptionHandling': 1,
            'FloatingPointModel': 0,
            'AdditionalOptions': ['/std:c++17', '/utf-8', '/bigobj'],
          },
        },
      }],
    ],
  },
  'targets': [
    {
      'target_name': 'asdm_core',
      'type': 'static_library',
      'sources': ['<!@(node -p "require(\'./native/sources.json\').library.join(\' \')")'],
    },
    {
      'target_name': 'asdm',
      'dependencies': ['asdm_core'],
      'sources': ['<!@(node -p "require(\'./native/sources.json\').addon.join(\' \')")'],
    },
  ],
  'conditions': [
    ['asdm_testing==1', {
      'targets': [
        {
          'target_name': 'asdm_testing',
          'dependencies': ['asdm_core'],
          'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
          'sources': ['<!@(node -p "require(\'./native/sources.json\').testing.join(\' \')")'],
        },
      ],
    }],
  ],
}
