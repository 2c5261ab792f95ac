// Names of pages: the value itself, and everything that changes it.
#include "engine/src/tiers/page_name.h"

#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace seer {
namespace {

const PageFingerprint kModel = {{"the weights", "abc", "-m"}, {"a page", "64 tokens"}};
const PrefixKey kKey = {{SparseRule::Method::kThreshold, 0.03}, 0};
const std::vector<int32_t> kIds = {1, 2, 3, -4};

TEST_CASE("names of pages are what they were, so that pages on disks are found by later versions") {
  // Made by Python: def text(s): return struct.pack("<Q", len(s)) + s
  // model = sha256(text(b"seer page names 1: a model") + pack("<Q", 2) + text(b"the weights") + text(b"abc")
  // + ...) root = sha256(text(b"seer page names 1: a model and a rule") + model + text(b"threshold=0.03") +
  // pack("<q", 0)) page = sha256(text(b"seer page names 1: a page") + root + pack("<Q", 4) + pack("<4i", 1,
  // 2, 3, -4))
  CHECK(model_digest(kModel).to_hex() == "9b065bd8a78c7b7e45de7a4ee69dcd5eb1f7f171be215e52fec06288a57214df");
  const PageName root = root_name(kModel, kKey);
  CHECK(root.to_hex() == "473cfb9dc460b44e4e473b0014a66d0d1d5017f33c813654a4d50674e92c33b5");
  CHECK(page_name(root, kIds).to_hex() == "a8919b93bdab69b937dd4e87e5c3708bc0ecbf3e2e2fc68ea0759abe2d7ba2ec");
}

TEST_CASE("every item of the fingerprint, the rule and the prompt's blocks make another name") {
  std::set<std::string> names = {root_name(kModel, kKey).to_hex()};
  size_t n = 1;
  const auto is_new = [&](const std::string& what, const PageFingerprint& model, const PrefixKey& key) {
    INFO(what);
    names.insert(root_name(model, key).to_hex());
    CHECK(names.size() == ++n);
  };
  is_new("a value", {{"the weights", "abd"}, {"a page", "64 tokens"}}, kKey);
  is_new("a name", {{"the gates", "abc"}, {"a page", "64 tokens"}}, kKey);
  is_new("the order", {{"a page", "64 tokens"}, {"the weights", "abc"}}, kKey);
  is_new("an item less", {{"the weights", "abc"}}, kKey);
  is_new("an empty item more", {{"the weights", "abc"}, {"a page", "64 tokens"}, {"", ""}}, kKey);
  is_new("another division of the characters", {{"the weightsa", "bc"}, {"a page", "64 tokens"}}, kKey);
  is_new("no item", {}, kKey);
  is_new("the rule's value", kModel, {{SparseRule::Method::kThreshold, 0.030000000000000002}, 0});
  is_new("the rule's method", kModel, {{SparseRule::Method::kHeadThreshold, 0.03}, 0});
  is_new("no rule", kModel, {{}, 0});
  is_new("the prompt's blocks", kModel, {{SparseRule::Method::kThreshold, 0.03}, 1});
  is_new("nz_ratio of 2 blocks", kModel, {{SparseRule::Method::kNzRatio, 0.5}, 2});
  is_new("nz_ratio of 3 blocks", kModel, {{SparseRule::Method::kNzRatio, 0.5}, 3});
}

TEST_CASE("the option that decides an item of the fingerprint changes no name") {
  CHECK(root_name({{"the weights", "abc"}, {"a page", "64 tokens", "-x"}}, kKey) == root_name(kModel, kKey));
}

TEST_CASE("the parent, the ids, their order and their number make another name") {
  const PageName root = root_name(kModel, kKey);
  std::set<std::string> names = {root.to_hex(), model_digest(kModel).to_hex()};
  size_t n = 2;
  const auto is_new = [&](const PageName& parent, const std::vector<int32_t>& ids) {
    names.insert(page_name(parent, ids).to_hex());
    CHECK(names.size() == ++n);
  };
  is_new(root, kIds);
  is_new(root, {2, 1, 3, -4});
  is_new(root, {1, 2, 3});
  is_new(root, {1, 2, 3, -4, 0});
  is_new(root, {1, 2, 3, -3});
  is_new(root, {});
  is_new(page_name(root, kIds), kIds);
  is_new(page_name(root, std::vector<int32_t>{1, 2}), std::vector<int32_t>{3, -4});
  is_new(root_name({}, kKey), kIds);
}

}  // namespace
}  // namespace seer
