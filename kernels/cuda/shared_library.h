// A shared library that is opened when it is first needed, and not when the program starts.
#pragma once

#include <span>
#include <string>

#include "seer/error.h"

namespace seer::cuda {

// Functions of an open library may be called from any thread. The library is never closed, because threads of
// its own may still run in it.
class SharedLibrary {
 public:
  // Opens the first of `names` that the loader finds, files or sonames. If it finds none, throws
  // Error{failure}: `purpose`, the first name and the loader's reason, and `remedy`.
  SharedLibrary(std::span<const char* const> names, ErrorKind failure, const std::string& purpose,
                const std::string& remedy);

  // Sets `function` to the library's function of that name. Throws Error{failure} if it has none.
  template <class Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(address(name));
  }

 private:
  void* address(const char* name) const;

  void* handle_ = nullptr;
  std::string name_;
  ErrorKind failure_;
};

}  // namespace seer::cuda
