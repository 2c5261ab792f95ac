#include "tests/fault/spared_functions.h"

#include <elf.h>
#include <link.h>
#include <unwind.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

struct Range {
  uintptr_t begin, end;
};

constexpr int kFrames = 8;
std::array<Range, 64> g_ranges{};
size_t g_n_ranges = 0;

template <class T>
T at(const std::string& file, size_t offset) {
  T value{};
  if (offset + sizeof value <= file.size()) std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

uintptr_t load_address() {
  uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {  // the program comes first
        *static_cast<uintptr_t*>(out) = info->dlpi_addr;
        return 1;
      },
      &base);
  return base;
}

// nlohmann::basic_json<...>::json_value::destroy(value_t), of any kind of basic_json, parts that the compiler
// moved elsewhere ("destroy.cold") included.
bool is_spared(const char* name) {
  return std::strstr(name, "basic_json") != nullptr && std::strstr(name, "10json_value7destroy") != nullptr;
}

void add_symbols(const std::string& file, const Elf64_Shdr& table, const Elf64_Shdr& names, uintptr_t base) {
  for (size_t i = 0; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
    const auto symbol = at<Elf64_Sym>(file, table.sh_offset + i * sizeof(Elf64_Sym));
    const size_t name = names.sh_offset + symbol.st_name;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || name >= file.size() || !is_spared(file.c_str() + name))
      continue;
    if (g_n_ranges < g_ranges.size())
      g_ranges[g_n_ranges++] = {base + symbol.st_value, base + symbol.st_value + symbol.st_size};
  }
}

struct Walk {
  int n = 0;
  bool found = false;
};

_Unwind_Reason_Code look(_Unwind_Context* context, void* argument) {
  auto* walk = static_cast<Walk*>(argument);
  const uintptr_t address = _Unwind_GetIP(context) - 1;  // of the call, and not of what comes after it
  for (size_t i = 0; i < g_n_ranges; ++i)
    walk->found = walk->found || (address >= g_ranges[i].begin && address < g_ranges[i].end);
  return walk->found || ++walk->n == kFrames ? _URC_END_OF_STACK : _URC_NO_REASON;
}

}  // namespace

bool find_spared_functions() {
  const std::string file = read_file("/proc/self/exe");
  const auto header = at<Elf64_Ehdr>(file, 0);
  const auto section = [&](size_t i) {
    return at<Elf64_Shdr>(file, header.e_shoff + i * header.e_shentsize);
  };
  g_n_ranges = 0;
  for (size_t i = 0; i < header.e_shnum; ++i)
    if (const Elf64_Shdr table = section(i); table.sh_type == SHT_SYMTAB)
      add_symbols(file, table, section(table.sh_link), load_address());
  return g_n_ranges > 0;
}

bool called_by_spared_function() noexcept {
  Walk walk;
  _Unwind_Backtrace(look, &walk);
  return walk.found;
}

}  // namespace seer::testing
