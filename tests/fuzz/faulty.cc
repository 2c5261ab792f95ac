// A target with every fault that the driver must notice. Only driver_test.py uses it.
#include <stdexcept>
#include <vector>

#include "seer/error.h"
#include "tests/fuzz/support.h"

namespace seer::fuzz {
namespace {

void run(const std::string& bytes) {
  volatile size_t sink = 0;
  if (bytes == "check") broken("on purpose");
  if (bytes == "heap") {
    const std::vector<char> held(size_t{20} << 20, 'x');
    sink = held.size();
  }
  if (bytes == "time")
    while (true) sink = sink + 1;
  if (bytes == "exception") accepts([] { throw std::out_of_range("on purpose"); });
  if (bytes == "silence") accepts([] { throw Error(ErrorKind::kFile, ""); });
  if (bytes == "long message") accepts([] { throw Error(ErrorKind::kFile, std::string(10000, 'x')); });
  if (bytes == "overflow") sink = static_cast<unsigned char>(bytes.data()[sink + bytes.capacity() + 1]);
  if (bytes == "refusal") expect(!accepts([] { throw Error(ErrorKind::kFile, "on purpose"); }), "accepted");
}

const Registration kTarget({"faulty", run, nullptr, 64, 0});

}  // namespace
}  // namespace seer::fuzz
