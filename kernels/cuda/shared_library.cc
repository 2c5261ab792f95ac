#include "kernels/cuda/shared_library.h"

#include <dlfcn.h>

namespace seer::cuda {

SharedLibrary::SharedLibrary(std::span<const char* const> names, ErrorKind failure,
                             const std::string& purpose, const std::string& remedy)
    : name_(names.front()), failure_(failure) {
  std::string why;
  for (const char* name : names) {
    handle_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    if (why.empty()) why = ::dlerror();
  }
  throw Error(failure, purpose + ", and " + name_ + " cannot be loaded: " + why + ". " + remedy);
}

void* SharedLibrary::address(const char* name) const {
  void* const address = ::dlsym(handle_, name);
  if (address == nullptr)
    throw Error(failure_, "the " + name_ + " that was found is too old: it has no " + name);
  return address;
}

}  // namespace seer::cuda
