#include "napi/handle.h"

#include <system_error>

#include "napi/convert.h"

namespace asdm::napi {

void* unwrap(napi_env env, napi_value self, const napi_type_tag& tag, const char* what) {
  bool ours = false;
  void* data = nullptr;
  napi_valuetype type;
  check(env, napi_typeof(env, self, &type));
  if (type == napi_object) check(env, napi_check_object_type_tag(env, self, &tag, &ours));
  if (!ours || napi_unwrap(env, self, &data) != napi_ok)
    throw Failure{
        {Code::InvalidArgument, std::string("Expected the method to be called on a ") + what + " but received " + shown(env, self)}};
  return data;
}

Handle& HandleClass::liveHandleOf(napi_env env, napi_value self) const {
  Handle& handle = handleOf(env, self);
  if (handle.disposed) throw Failure{{Code::Disposed, std::string("Expected a live ") + what + " but it was disposed"}};
  return handle;
}

void HandleClass::define(napi_env env, napi_callback constructs, const std::vector<napi_property_descriptor>& properties) const {
  napi_value made;
  check(env, napi_define_class(env, name, NAPI_AUTO_LENGTH, constructs, nullptr, properties.size(), properties.data(), &made));
  check(env, napi_create_reference(env, made, 1, &(Environment::of(env).*constructor)));
}

// The handle is what `create` left in the environment.
napi_value HandleClass::construct(napi_env env, napi_callback_info info) const {
  const Arguments<0> arguments(env, info);
  std::unique_ptr<Handle> handle(static_cast<Handle*>(Environment::of(env).takeNewborn()));
  if (!handle)
    throw Failure{
        {Code::InvalidArgument, std::string("Expected ") + what + "s to be made by " + maker + " but the constructor was called"}};
  check(env, napi_type_tag_object(env, arguments.self, &tag));
  check(env,
        napi_wrap(
            env, arguments.self, handle.get(), [](napi_env, void* data, void*) { delete static_cast<Handle*>(data); }, nullptr, nullptr));
  (void)handle.release();
  return arguments.self;
}

napi_value HandleClass::create(napi_env env, std::unique_ptr<Handle> handle) const {
  Environment& state = Environment::of(env);
  napi_value made, instance;
  check(env, napi_get_reference_value(env, state.*constructor, &made));
  state.newborn = handle.release();
  const napi_status status = napi_new_instance(env, made, 0, nullptr, &instance);
  handle.reset(static_cast<Handle*>(state.takeNewborn()));  // still there if the constructor was not reached
  check(env, status);
  return instance;
}

napi_value HandleClass::cpu(napi_env env, napi_callback_info info) const {
  const Arguments<0> arguments(env, info);
  return string(env, handleOf(env, arguments.self).cpu);
}

napi_value HandleClass::dispose(napi_env env, napi_callback_info info) const {
  const Arguments<0> arguments(env, info);
  Handle& handle = handleOf(env, arguments.self);
  if (!handle.disposed) handle.worker->dispose();
  handle.disposed = true;
  return undefined(env);
}

napi_property_descriptor method(const char* name, napi_callback callback) {
  return {name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

void withWorkerThreads(Environment& state, int threads, const std::function<Status(std::shared_ptr<WorkerThreads>)>& make) {
  try {
    require(make(state.workerThreads(threads)));
  } catch (const std::system_error& error) {
    throw Failure{{Code::OutOfMemory,
                   std::string("Expected the system to start ") + std::to_string(threads) + " threads but it did not: " + error.what()}};
  }
}

}  // namespace asdm::napi
