#include "engine/src/tiers/page_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "engine/base/file_reader.h"
#include "engine/base/json.h"
#include "seer/version.h"

namespace seer {
namespace fs = std::filesystem;
namespace {

constexpr size_t kModelDigits = 32, kNameDigits = 64;
constexpr int64_t kYear = int64_t{366} * 24 * 3600 * 1'000'000'000;

bool is_hex(const std::string& text, size_t n) {
  return text.size() == n && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_temporary(const std::string& text) {
  return text.size() > kNameDigits + 4 && is_hex(text.substr(0, kNameDigits), kNameDigits) &&
         text[kNameDigits] == '.' && text.ends_with(".tmp");
}

// Removes the file if its writer has ended: a writer that is alive has a lock on it. Returns whether the
// file was removed.
bool remove_if_left(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return fd.get() >= 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::unlink(path.c_str()) == 0;
}

// Walks through the folders of a disk cache.
class Walk {
 public:
  Walk(int64_t now, bool remove, FoundPages* found) : now_(now), remove_(remove), found_(*found) {}

  void models(const std::string& dir) {
    each(dir, [&](const std::string& name, const std::string& path, const struct stat& info) {
      struct stat json {};
      if (!S_ISDIR(info.st_mode) || !is_hex(name, kModelDigits)) return;
      if (::lstat((path + "/model.json").c_str(), &json) != 0) return;
      found_.folders.push_back(path);
      prefixes(path);
    });
  }

 private:
  void prefixes(const std::string& folder) {
    each(folder, [&](const std::string& name, const std::string& path, const struct stat& info) {
      if (S_ISDIR(info.st_mode) && is_hex(name, 2)) pages(path, name);
    });
  }

  void pages(const std::string& folder, const std::string& prefix) {
    each(folder, [&](const std::string& name, const std::string& path, const struct stat& info) {
      if (!S_ISREG(info.st_mode) || !name.starts_with(prefix)) return;
      if (is_temporary(name)) {
        if (remove_ && remove_if_left(path)) {
          ++found_.n_removed;
        } else {
          add(info);
        }
      } else if (const std::optional<PageName> page = parse_page_file_name(name)) {
        add(info);
        int64_t stamp = info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec;
        if (stamp > now_ + kYear) stamp = now_;  // a clock was wrong, and the page would stay too long
        found_.index.put(*page,
                         {stamp, stamp, info.st_size, static_cast<int32_t>(found_.folders.size()) - 1});
      }
    });
  }

  void add(const struct stat& info) {
    found_.bytes += info.st_size;
    ++found_.pages;
  }

  // Calls `look` for everything in a folder. Files that are removed meanwhile are passed over.
  template <class Look>
  void each(const std::string& folder, const Look& look) {
    std::error_code error;
    fs::directory_iterator it(folder, error), end;
    for (; !error && it != end; it.increment(error)) {
      const std::string path = it->path().string();
      struct stat info {};
      if (::lstat(path.c_str(), &info) == 0) {
        look(it->path().filename().string(), path, info);
      } else if (errno != ENOENT) {
        fail(errno, path);
      }
    }
    if (error && error.value() != ENOENT) fail(error.value(), folder);
  }

  void fail(int error, const std::string& where) {
    if (found_.error == 0) found_.error = error, found_.where = where;
  }

  int64_t now_;
  bool remove_;
  FoundPages& found_;
};

std::string describe(const PageFingerprint& fingerprint, int64_t record_bytes) {
  OrderedJson items = OrderedJson::object();
  for (const FingerprintItem& item : fingerprint) items[item.name] = item.value;
  const OrderedJson description = {
      {"what", "pages of keys and values that Seer computed with one model; see --disk-cache"},
      {"written by", std::string("Seer ") + version()},
      {"model", model_digest(fingerprint).to_hex()},
      {"bytes of a page", record_bytes},
      {"what the pages depend on", items},
  };
  return description.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

int write_new(const std::string& path, const std::string& text) {
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return errno;
  const ssize_t n = ::write(fd.get(), text.data(), text.size());
  return n == static_cast<ssize_t>(text.size()) ? 0 : n < 0 ? errno : ENOSPC;
}

}  // namespace

std::string model_folder_name(const PageFingerprint& fingerprint) {
  return model_digest(fingerprint).to_hex().substr(0, kModelDigits);
}

std::string page_file_name(const PageName& name) {
  const std::string hex = name.to_hex();
  return hex.substr(0, 2) + "/" + hex;
}

std::optional<PageName> parse_page_file_name(const std::string& text) {
  if (!is_hex(text, kNameDigits)) return std::nullopt;
  const auto digit = [&](size_t i) { return text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10; };
  PageName name;
  for (size_t i = 0; i < name.bytes.size(); ++i)
    name.bytes[i] = static_cast<uint8_t>(16 * digit(2 * i) + digit(2 * i + 1));
  return name;
}

int make_model_folder(const std::string& folder, const PageFingerprint& fingerprint, int64_t record_bytes) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return errno;
  const std::string json = folder + "/model.json", temporary = json + ".tmp";
  struct stat info {};
  if (::lstat(json.c_str(), &info) == 0) return 0;
  const int error = write_new(temporary, describe(fingerprint, record_bytes));
  if (error == 0 && ::rename(temporary.c_str(), json.c_str()) == 0) return 0;
  const int reason = error != 0 ? error : errno;
  ::unlink(temporary.c_str());
  return reason;
}

FoundPages find_pages(const std::string& dir, int64_t now, bool remove) {
  FoundPages found;
  Walk(now, remove, &found).models(dir);
  return found;
}

}  // namespace seer
