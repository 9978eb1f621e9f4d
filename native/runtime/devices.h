// The devices that models of one environment may run on: the CPU, and those of plugins.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/plugin.h"

namespace asdm {

// What a user is told of a device.
struct DeviceInfo {
  std::string name, description;
  std::string reason;  // why it cannot be used; empty where it can
};

class Devices {
 public:
  Devices();  // the CPU

  // Adds the devices of a library, path in UTF-8; no failure where none of them can be used. Code in it runs at once, so who loads what
  // may crash tries it in another process first. UnknownDevice where it is no plugin, or of another version. A path counts once.
  Status load(const std::string& path);

  // By option `device`: a device's name, or a plugin's for the first of its devices that can be used; "auto": the environment variable
  // ASDM_DEVICE if set, else the CPU. UnknownDevice, and why, where there is none.
  Status find(const std::string& name, std::shared_ptr<Device>* device);

  // All of them, usable or not, the CPU first.
  std::vector<DeviceInfo> list() const;

 private:
  struct Plugin {
    std::string path;
    const DevicePlugin* entry;
    std::vector<std::shared_ptr<Device>> open;  // of its devices, null until they are used
  };
  Status find(Plugin& plugin, const std::string& name, const std::string& where, std::shared_ptr<Device>* device);

  std::shared_ptr<Device> cpu_;
  std::vector<Plugin> plugins_;
};

}  // namespace asdm
