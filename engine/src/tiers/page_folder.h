// The names of files in the folder of a disk cache, and which files are there.
//
//   DIR/space                                 PageSpace
//   DIR/MODEL/model.json                      which model the pages are of, for people
//   DIR/MODEL/xx/NAME                         a page (page_file.h)
//   DIR/MODEL/xx/NAME.*.tmp                   a page that is being written, under a lock of its writer
//
// MODEL is the first 32 hexadecimal digits of model_digest(), NAME the 64 of the page's name, xx the first
// two of them. Everything else in the folder is foreign, and so is a MODEL without a model.json: it is never
// counted, read or removed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/src/tiers/page_index.h"
#include "engine/src/tiers/page_name.h"
#include "models/page_fingerprint.h"

namespace seer {

std::string model_folder_name(const PageFingerprint& fingerprint);
// Returns "xx/NAME".
std::string page_file_name(const PageName& name);
// Reads a NAME. Returns nothing if the text is not the name of a page.
std::optional<PageName> parse_page_file_name(const std::string& text);

// Makes the model's folder and its model.json, if they are not there. Returns errno.
int make_model_folder(const std::string& folder, const PageFingerprint& fingerprint, int64_t record_bytes);

struct FoundPages {
  PageIndex index;
  std::vector<std::string> folders;  // PageIndex::Entry::folder is a place in it
  int64_t bytes = 0;                 // of pages and of files that are being written
  int64_t pages = 0;                 // both kinds of files
  int64_t n_removed = 0;             // unfinished files of processes that have ended
  int error = 0;                     // errno of what could not be read
  std::string where;
};
// Looks at all pages of all models below `dir`. If `remove` is true, removes files that nobody is writing any
// more; then the caller must have the lock of PageSpace. `now` replaces a stamp that is more
// than a year later than it, which only a wrong clock can have set.
FoundPages find_pages(const std::string& dir, int64_t now, bool remove);

}  // namespace seer
