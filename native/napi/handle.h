// JavaScript objects that own a model's or trainer's thread, and what all such classes have in common.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "napi/environment.h"
#include "napi/js.h"
#include "napi/worker.h"

namespace asdm::napi {

// The native data of an object that was marked with this tag, so that a method called on another object (of another addon, even) fails instead
// of misreading it. what: "model", for the message. Throws Failure(InvalidArgument).
void* unwrap(napi_env env, napi_value self, const napi_type_tag& tag, const char* what);

// What such an object owns. The worker outlives it while calls are open.
struct Handle {
  std::shared_ptr<Worker> worker;
  std::vector<std::string> inputs;  // names
  std::string cpu;
  bool disposed = false;
  ~Handle() {
    if (!disposed) worker->release();
  }
};

// One class of them. Its constructor works only while `create` is at it.
struct HandleClass {
  napi_type_tag tag;
  const char* name;  // of the class
  const char* what;  // "model"
  const char* maker;  // the addon's function that makes one: "createModel"
  napi_ref Environment::* constructor;

  Handle& handleOf(napi_env env, napi_value self) const { return *static_cast<Handle*>(unwrap(env, self, tag, what)); }
  // To be called after all conversions, since those may run code that disposes. Throws Failure(Disposed).
  Handle& liveHandleOf(napi_env env, napi_value self) const;

  // Defines the class and keeps it in the environment. constructs: a callback that returns construct(env, info).
  void define(napi_env env, napi_callback constructs, const std::vector<napi_property_descriptor>& properties) const;
  napi_value construct(napi_env env, napi_callback_info info) const;
  napi_value create(napi_env env, std::unique_ptr<Handle> handle) const;

  // The properties cpu and dispose().
  napi_value cpu(napi_env env, napi_callback_info info) const;
  napi_value dispose(napi_env env, napi_callback_info info) const;
};

napi_property_descriptor method(const char* name, napi_callback callback);

// Calls make with so many worker threads. Throws Failure(OutOfMemory) where the OS gives none, and what make says.
void withWorkerThreads(Environment& state, int threads, const std::function<Status(std::shared_ptr<WorkerThreads>)>& make);

}  // namespace asdm::napi
