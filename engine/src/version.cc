#include "seer/version.h"

namespace seer {

const char* version() noexcept { return SEER_VERSION; }

}  // namespace seer
