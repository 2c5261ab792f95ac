#include "models/mapped_ranges.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace seer {

// A slot is free if its path is null. The path is written last and cleared first.
struct MappedRange::Slot {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<const char*> path{nullptr};

  struct Chunk;
  static Slot* take();
};

// Slots stay where they are for ever, so that a signal handler may walk over them at any moment.
struct MappedRange::Slot::Chunk {
  std::array<Slot, 64> slots;
  std::atomic<Chunk*> next{nullptr};

  static Chunk* first() {
    static constinit Chunk chunk;
    return &chunk;
  }
};

// The caller must hold the lock.
MappedRange::Slot* MappedRange::Slot::take() {
  Chunk* last = nullptr;
  for (Chunk* chunk = Chunk::first(); chunk != nullptr; chunk = chunk->next) {
    for (Slot& slot : chunk->slots)
      if (slot.path == nullptr) return &slot;
    last = chunk;
  }
  last->next = new Chunk;
  return last->next.load()->slots.data();
}

namespace {

std::mutex& writers() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

MappedRange::MappedRange(const std::byte* begin, size_t size, const char* path) {
  const std::lock_guard lock(writers());
  slot_ = Slot::take();
  slot_->begin = reinterpret_cast<uintptr_t>(begin);
  slot_->end = reinterpret_cast<uintptr_t>(begin) + size;
  slot_->path = path;
}

MappedRange::~MappedRange() {
  const std::lock_guard lock(writers());
  slot_->path = nullptr;
}

const char* MappedRange::path_at(const void* address) noexcept {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (Slot::Chunk* chunk = Slot::Chunk::first(); chunk != nullptr; chunk = chunk->next)
    for (const Slot& slot : chunk->slots) {
      const char* path = slot.path;
      if (path != nullptr && at >= slot.begin && at < slot.end) return path;
    }
  return nullptr;
}

}  // namespace seer
