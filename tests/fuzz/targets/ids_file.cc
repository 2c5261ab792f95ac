// Token ids in a text file, in the form of --tokens-file.
#include "tests/fuzz/support.h"
#include "tools/seer/input.h"

namespace seer::fuzz::ids_file_target {
namespace {

void run(const std::string& bytes) {
  std::vector<int32_t> ids;
  if (!accepts([&] { ids = cli::parse_ids(bytes, "ids.txt"); })) return;
  expect(cli::parse_ids(cli::join_ids(ids), "again") == ids, "other ids when they are written again");
  if (!accepts([&] { cli::check_ids(ids, 1000, "ids.txt"); })) return;
  for (const int32_t id : ids) expect(id >= 0 && id < 1000, "an id out of the vocabulary");
}

const Registration kTarget({"ids_file", run});

}  // namespace
}  // namespace seer::fuzz::ids_file_target
