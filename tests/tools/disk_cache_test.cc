// The disk cache as a user of the program has it, and sizes in bytes on the command line.
#include "seer/error.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"
#include "tools/seer/byte_size.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;

std::vector<std::string> generate_cached(std::vector<std::string> more) {
  std::string prompt;
  for (int i = 0; i < 30; ++i) prompt += "The ship " + std::to_string(i) + " came to the harbour. ";
  more.insert(more.begin(), {"generate", "-m", testing::demo_model_dir(), "-p", prompt, "--temp", "0", "-n",
                             "8", "-c", "2048"});
  return more;
}

TEST_CASE("a prompt that another process has computed comes from the disk, and the answer is the same") {
  const testing::TempDir dir;
  const std::string cache = (dir.path() / "a, b").string() + ",1GiB";
  const Outcome first = run_seer(generate_cached({"--disk-cache", cache})),
                second = run_seer(generate_cached({"--disk-cache", cache})),
                plain = run_seer(generate_cached({}));
  INFO(first.err << second.err);
  REQUIRE(first.code == 0);
  CHECK_THAT(first.err, !ContainsSubstring("from the disk"));
  CHECK_THAT(second.err, ContainsSubstring(" cached (") && ContainsSubstring(" from the disk in "));
  CHECK(first.out == plain.out);
  CHECK(second.out == plain.out);
}

TEST_CASE("sizes in bytes have units of powers of 1024") {
  CHECK(cli::parse_bytes("1") == 1);
  CHECK(cli::parse_bytes("4096B") == 4096);
  CHECK(cli::parse_bytes("3K") == 3072);
  CHECK(cli::parse_bytes("1.5KiB") == 1536);
  CHECK(cli::parse_bytes("64M") == int64_t{64} << 20);
  CHECK(cli::parse_bytes("64GiB") == int64_t{64} << 30);
  CHECK(cli::parse_bytes("2TiB") == int64_t{2} << 40);
  for (const char* wrong : {"", "0", "-1", "GiB", "1GB", "1gib", "1 GiB", "1e9", "nan", "inf", "1GiBs", "0.1",
                            "99999999999T", "0x10"}) {
    INFO(wrong);
    CHECK_THAT(testing::refusal(ErrorKind::kUsage, [&] { cli::parse_bytes(wrong); }),
               ContainsSubstring("such as 64GiB"));
  }
}

TEST_CASE("a disk cache without a size or a folder, and a host cache on a CPU, are refused by name") {
  for (const char* wrong : {"pages", ",1GiB", "1GiB"})
    CHECK_THAT(check_fails(generate_cached({"--disk-cache", wrong}), 2), ContainsSubstring("DIR,SIZE"));
  CHECK_THAT(check_fails(generate_cached({"--disk-cache", "pages,1GB"}), 2),
             ContainsSubstring("such as 64GiB"));
  CHECK_THAT(check_fails(generate_cached({"--host-cache", "1GiB", "--device", "cpu"}), 2),
             ContainsSubstring("needs a GPU") && ContainsSubstring("--pool-size"));
  CHECK_THAT(check_fails(generate_cached({"--disk-cache", "pages,1GiB", "--no-prefix-cache"}), 2),
             ContainsSubstring("--no-prefix-cache"));
}

}  // namespace
}  // namespace seer
