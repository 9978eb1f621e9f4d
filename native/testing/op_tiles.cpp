#include "testing/op_runner.h"

#include <algorithm>

namespace asdm::testing {

namespace {

constexpr size_t kWholeTile = 16 * 64;

uint32_t element(const Napi::Object& of, const char* name, uint32_t i) {
  const Napi::Value values = of.Get(name);
  return values.IsArray() ? values.As<Napi::Array>().Get(i).ToNumber().Uint32Value() : 0;
}

cpu::TileConfig configOf(const Napi::Object& o) {
  cpu::TileConfig config;
  if (o.Has("palette")) config.palette = static_cast<uint8_t>(o.Get("palette").ToNumber().Uint32Value());
  if (o.Has("reserved")) config.reserved[13] = static_cast<uint8_t>(o.Get("reserved").ToNumber().Uint32Value());
  for (uint32_t i = 0; i < 16; i++) {
    config.rows[i] = static_cast<uint8_t>(element(o, "rows", i));
    config.rowBytes[i] = static_cast<uint16_t>(element(o, "bytes", i));
  }
  return config;
}

// tiles(instructions) -> { fault, stored }: runs instructions of the emulated tile registers one by one in this thread. Each is an array:
// ['configure', { palette?, reserved?, rows, bytes }], ['release'], ['zero', tile], ['load', tile, bytes: Uint8Array], ['store', tile],
// ['dotBf16' | 'dotBytes', sums, left, right]. Rows in memory are 64 bytes apart; a store gives 1024 bytes, those not written being 255.
Napi::Value tiles(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Array program = info[0].As<Napi::Array>();
  Napi::Array stored = Napi::Array::New(env);
  const TileWatch watch(true);
  TileRegisters& registers = TileRegisters::ofThisThread();
  for (uint32_t i = 0; i < program.Length(); i++) {
    const Napi::Array line = program.Get(i).As<Napi::Array>();
    const std::string what = line.Get(0u).ToString();
    const auto tile = [&](uint32_t at) { return static_cast<int>(line.Get(at).ToNumber().Uint32Value() % 8); };
    if (what == "configure") registers.configure(configOf(line.Get(1u).ToObject()));
    if (what == "release") registers.release();
    if (what == "zero") registers.zero(tile(1));
    if (what == "load") {
      unsigned char bytes[kWholeTile] = {};
      const auto from = line.Get(2u).As<Napi::Uint8Array>();
      std::memcpy(bytes, from.Data(), std::min(from.ByteLength(), kWholeTile));
      registers.load(tile(1), bytes, 64);
    }
    if (what == "store") {
      Napi::Uint8Array to = Napi::Uint8Array::New(env, kWholeTile);
      std::memset(to.Data(), 0xff, kWholeTile);
      registers.store(tile(1), to.Data(), 64);
      stored.Set(stored.Length(), to);
    }
    if (what == "dotBf16") registers.dotBf16(tile(1), tile(2), tile(3));
    if (what == "dotBytes") registers.dotBytes(tile(1), tile(2), tile(3));
  }
  const char* fault = watch.fault();
  registers.release();
  Napi::Object result = Napi::Object::New(env);
  result.Set("fault", fault != nullptr ? Napi::Value(Napi::String::New(env, fault)) : Napi::Value(env.Null()));
  result.Set("stored", stored);
  return result;
}

}  // namespace

void addTileTests(Napi::Env env, Napi::Object exports) { exports.Set("tiles", Napi::Function::New(env, tiles)); }

}  // namespace asdm::testing
