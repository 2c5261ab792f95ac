// The head of a saved session. An input becomes the contents of a head and gets a right checksum, because a
// stranger can compute that too. An input that begins with the magic is read as it is.
#include "engine/src/session_file.h"

#include <cmath>

#include "tests/fuzz/support.h"

namespace seer::fuzz::session_target {
namespace {

void run(const std::string& bytes) {
  SessionHead head;
  const bool whole = bytes.starts_with("SeerSess");
  if (!accepts([&] { head = parse_session_head(whole ? bytes : seal_session_head(bytes), "session"); }))
    return;
  const SequenceState& state = head.state;
  const auto n_tokens = static_cast<int64_t>(head.tokens.size());
  expect(state.n_computed >= 0 && state.n_computed <= n_tokens, "more computed tokens than tokens");
  expect(state.prompt_tokens >= 0, "a negative prompt");
  expect(head.page_tokens > 0 && head.record_bytes > 0, "an empty page");
  expect(head.n_pages() * head.page_tokens >= state.n_computed, "tokens without a page");
  expect(head.file_bytes(static_cast<int64_t>(bytes.size())) >= 0, "a file of negative size");
  expect(std::isfinite(state.rules.prompt.value), "a rule's value that is not finite");
  const std::string again = pack_session_head(head);
  expect(pack_session_head(parse_session_head(again, "again")) == again,
         "another head when it is written again");
}

const Registration kTarget({"session", run});

}  // namespace
}  // namespace seer::fuzz::session_target
