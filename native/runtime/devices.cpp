#include "runtime/devices.h"

#include <algorithm>
#include <cstdlib>

#include "core/library.h"
#include "cpu/cpuid.h"
#include "cpu/device.h"

namespace asdm {

namespace {

DeviceNote noteOf(const DevicePlugin& plugin, int index) {
  DeviceNote note = {};
  plugin.describe(index, &note);
  note.name[sizeof note.name - 1] = note.description[sizeof note.description - 1] = note.reason[sizeof note.reason - 1] = '\0';
  return note;
}

}  // namespace

Devices::Devices() : cpu_(cpu::makeDevice()) {}

Status Devices::load(const std::string& path) {
  for (const Plugin& plugin : plugins_)
    if (plugin.path == path) return Status::good();
  const std::string expected = "Expected \"" + path.substr(0, 300) + "\" to be a library with devices for this version of asdm but ";
  std::string why;
  const auto entry = reinterpret_cast<PluginEntry>(libraryFunction(path, kPluginEntry, &why));
  if (entry == nullptr) return {Code::UnknownDevice, expected + why};
  const DevicePlugin* const plugin = entry();
  if (plugin == nullptr || plugin->version != kPluginVersion || plugin->tableBytes != sizeof(KernelTable))
    return {Code::UnknownDevice, expected + "it is for another version"};
  plugins_.push_back({path, plugin, std::vector<std::shared_ptr<Device>>(static_cast<size_t>(std::max(0, plugin->count())))});
  return Status::good();
}

Status Devices::find(Plugin& plugin, const std::string& name, const std::string& where, std::shared_ptr<Device>* device) {
  std::string why = plugin.open.empty() ? plugin.entry->none : "it has " + std::to_string(plugin.open.size()) + " such devices";
  for (size_t i = 0; i < plugin.open.size(); i++) {
    const int index = static_cast<int>(i);
    const DeviceNote note = noteOf(*plugin.entry, index);
    if (name != plugin.entry->name && name != note.name) continue;
    if (note.reason[0] != '\0') {
      why = note.reason;
      continue;
    }
    if (plugin.open[i] == nullptr) {
      Fault fault;
      plugin.open[i].reset(plugin.entry->open(index, &fault));
      if (plugin.open[i] == nullptr) {
        why = fault.text;
        continue;
      }
    }
    *device = plugin.open[i];
    return Status::good();
  }
  return {Code::UnknownDevice, "Expected " + where + " to name a device that this machine can use but \"" + name + "\" is none: " + why};
}

Status Devices::find(const std::string& name, std::shared_ptr<Device>* device) {
  std::string wanted = name, where = "option device", names = "auto, cpu";
  if (wanted == "auto") {
    const char* const forced = std::getenv("ASDM_DEVICE");
    wanted = "cpu";
    if (forced != nullptr && *forced != '\0' && wanted != forced) {
      wanted = forced;
      where = "environment variable ASDM_DEVICE";
    }
  }
  if (wanted == cpu_->name()) {
    *device = cpu_;
    return Status::good();
  }
  for (Plugin& plugin : plugins_) {
    const std::string kind = plugin.entry->name;
    if (wanted == kind || wanted.compare(0, kind.size() + 1, kind + ":") == 0) return find(plugin, wanted, where, device);
    names += ", " + kind;
  }
  return {Code::UnknownDevice, "Expected " + where + " to be one of " + names + " but received \"" + wanted.substr(0, 60) + "\"" +
                                   (wanted.compare(0, 4, "cuda") == 0 ? ", whose plugin is not installed" : "")};
}

std::vector<DeviceInfo> Devices::list() const {
  std::vector<DeviceInfo> all{{cpu_->name(), cpu::brand(), ""}};
  for (const Plugin& plugin : plugins_) {
    if (plugin.open.empty()) all.push_back({plugin.entry->name, "", plugin.entry->none});
    for (size_t i = 0; i < plugin.open.size(); i++) {
      const DeviceNote note = noteOf(*plugin.entry, static_cast<int>(i));
      all.push_back({note.name, note.description, note.reason});
    }
  }
  return all;
}

}  // namespace asdm
