#include "engine/src/c_api/handles.h"

#include <cstdlib>
#include <new>

namespace seer::c_api {
namespace {

// The last error of the calling thread. If there is no memory for a message, one that needs none replaces it.
struct LastError {
  std::string text;
  const char* fixed = "";
};

LastError& last_error() {
  thread_local LastError error;
  return error;
}

constexpr const char* kNoMemory = "out of memory; try a smaller ctx_size, or a machine with more memory";

seer_status fail_with(seer_status status, const char* message) noexcept {
  LastError& error = last_error();
  error.fixed = nullptr;
  try {
    error.text = message;
  } catch (...) {
    error.fixed = kNoMemory;
  }
  return status;
}

seer_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return SEER_ERROR_USAGE;
    case ErrorKind::kFile:
      return SEER_ERROR_FILE;
    case ErrorKind::kUnsupported:
      return SEER_ERROR_UNSUPPORTED;
    case ErrorKind::kMemory:
      return SEER_ERROR_MEMORY;
    case ErrorKind::kDevice:
      return SEER_ERROR_DEVICE;
    case ErrorKind::kCancelled:
      return SEER_ERROR_CANCELLED;
    case ErrorKind::kRuntime:
      break;
  }
  return SEER_ERROR_RUNTIME;
}

}  // namespace

seer_status fail() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return fail_with(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return fail_with(SEER_ERROR_MEMORY, kNoMemory);
  } catch (const std::exception& error) {
    return fail_with(SEER_ERROR_RUNTIME, error.what());
  } catch (...) {
    return fail_with(SEER_ERROR_RUNTIME, "an exception of unknown type");
  }
}

void refuse_null(const char* name) {
  throw Error(ErrorKind::kUsage, std::string("expected a pointer to ") + name + ", found null");
}

void refuse_size(const char* type, size_t expected, size_t found) {
  throw Error(ErrorKind::kUsage, std::string(type) + ": expected its size, sizeof(" + type +
                                     ") = " + std::to_string(expected) + " in this version, found " +
                                     std::to_string(found) +
                                     ". Prepare the struct with its _init function; " +
                                     "fields that this version does not know must be zero.");
}

}  // namespace seer::c_api

const char* seer_version(void) { return seer::version(); }

const char* seer_status_name(seer_status status) {
  // C may pass any number, even one that is no value of the enumeration in C++.
  unsigned number = 0;
  static_assert(sizeof number == sizeof status);
  std::memcpy(&number, &status, sizeof number);
  switch (number) {
    case SEER_OK:
      return "ok";
    case SEER_ERROR_USAGE:
      return "usage";
    case SEER_ERROR_FILE:
      return "file";
    case SEER_ERROR_UNSUPPORTED:
      return "unsupported";
    case SEER_ERROR_MEMORY:
      return "memory";
    case SEER_ERROR_DEVICE:
      return "device";
    case SEER_ERROR_CANCELLED:
      return "cancelled";
    case SEER_ERROR_RUNTIME:
      return "runtime";
  }
  return "unknown";
}

const char* seer_last_error(void) {
  const seer::c_api::LastError& error = seer::c_api::last_error();
  return error.fixed != nullptr ? error.fixed : error.text.c_str();
}

void seer_free(void* memory) { std::free(memory); }
