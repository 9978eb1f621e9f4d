// A library that brings devices, loaded at run time: what it exports, in C. It is built against these headers, and refused where they
// were others. Its devices are objects of backend/device.h, across whose interfaces only plain data goes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/device.h"

#if defined(_WIN32)
#define ASDM_PLUGIN_EXPORT extern "C" __declspec(dllexport)
#else
#define ASDM_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace asdm {

// To be raised with every change of backend/device.h, backend/kernels.h or this file.
constexpr uint32_t kPluginVersion = 2;

// What a plugin says of one of its devices.
struct DeviceNote {
  char name[32];          // as option `device` calls it: "cuda:0"
  char description[160];  // what it is: a card's name, its memory
  char reason[512];       // why it cannot be used, as a sentence; empty where it can
};

struct DevicePlugin {
  uint32_t version;      // kPluginVersion
  uint32_t tableBytes;   // sizeof(KernelTable)
  const char* name;      // of its devices: "cuda", which stands for the first of them that can be used
  // How many devices there are, usable ones or not. Where there are none, `none` says why.
  int (*count)() noexcept;
  const char* none;
  void (*describe)(int index, DeviceNote* note) noexcept;
  // The device, to be deleted by the caller, or null and why.
  Device* (*open)(int index, Fault* fault) noexcept;
};

// The one function that is exported. The plugin stays loaded until the process ends.
constexpr char kPluginEntry[] = "asdm_device_plugin";
using PluginEntry = const DevicePlugin* (*)() noexcept;

}  // namespace asdm
