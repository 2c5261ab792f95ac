#include "tests/engine/disk_pages.h"

#include <cstring>
#include <filesystem>

#include "tests/support/catch.h"

namespace seer::testing {
namespace fs = std::filesystem;

PageName test_page(int64_t i, const PageFingerprint& model) {
  return page_name(root_name(model, {}), std::vector<int32_t>{static_cast<int32_t>(i)});
}

Record record_of(const PageName& name, int64_t n_bytes) {
  Record record(static_cast<size_t>(n_bytes));
  uint64_t x = 0;
  std::memcpy(&x, name.bytes.data(), sizeof x);
  for (size_t i = 0; i < record.size(); i += 8) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    std::memcpy(record.data() + i, &x, std::min<size_t>(8, record.size() - i));
  }
  return record;
}

std::string DiskFolder::file(const PageName& name, const PageFingerprint& model) const {
  return path() + "/" + model_folder_name(model) + "/" + page_file_name(name);
}

int64_t DiskFolder::bytes() const {
  int64_t sum = 0;
  std::error_code gone;  // other processes rename and remove files meanwhile
  for (const auto& entry : fs::recursive_directory_iterator(path(), gone)) {
    const std::string name = entry.path().filename().string();
    if (name == "space" || name.starts_with("model.json") || !entry.is_regular_file(gone)) continue;
    const auto size = entry.file_size(gone);
    if (!gone) sum += static_cast<int64_t>(size);
  }
  return sum;
}

std::vector<std::string> DiskFolder::files(const std::string& suffix) const {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(path()))
    if (entry.is_regular_file() && entry.path().string().ends_with(suffix))
      found.push_back(entry.path().string());
  return found;
}

struct Disk::Lines {
  std::mutex mutex;
  std::vector<std::string> lines;
};

namespace {

DiskPagesOptions with(DiskPagesOptions options, const std::string& dir, int64_t max_bytes) {
  options.dir = dir;
  options.max_bytes = max_bytes;
  return options;
}

}  // namespace

Disk::Disk(const DiskFolder& folder, int64_t n_pages, const PageFingerprint& model, DiskPagesOptions options,
           int64_t n_bytes)
    : model_(model),
      n_bytes_(n_bytes),
      lines_(std::make_shared<Lines>()),
      pages_(with(std::move(options), folder.path(), n_pages * page_file_bytes(n_bytes)), model, n_bytes,
             [lines = lines_](LogLevel, const std::string& text) {
               const std::lock_guard lock(lines->mutex);
               lines->lines.push_back(text);
             }) {}

bool Disk::store(int64_t i, double cost_s) {
  const PageName name = test_page(i, model_);
  return pages_.store(name, record_of(name, n_bytes_), cost_s);
}

bool Disk::load(int64_t i) {
  const PageName name = test_page(i, model_);
  Record record(static_cast<size_t>(n_bytes_));
  if (!pages_.load(name, record)) return false;
  CHECK(record == record_of(name, n_bytes_));
  return true;
}

std::vector<int64_t> Disk::which(int64_t n) {
  std::vector<int64_t> there;
  for (int64_t i = 0; i < n; ++i)
    if (pages_.has(test_page(i, model_))) there.push_back(i);
  return there;
}

std::vector<std::string> Disk::lines() const {
  const std::lock_guard lock(lines_->mutex);
  return lines_->lines;
}

}  // namespace seer::testing
