#include "tools/seer/serve/http/handled_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "seer/error.h"
#include "tools/seer/serve/http/connection.h"

namespace seer::serve {

HandledQueue::HandledQueue() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (event_ < 0)
    throw Error(ErrorKind::kRuntime,
                std::string("the server cannot start: no event descriptor: ") + std::strerror(errno));
}

HandledQueue::~HandledQueue() { ::close(event_); }

void HandledQueue::push(Connection* connection) noexcept {
  {
    const std::lock_guard lock(mutex_);
    connection->next_handled = nullptr;
    (last_ == nullptr ? first_ : last_->next_handled) = connection;
    last_ = connection;
  }
  wake();
}

Connection* HandledQueue::pop() noexcept {
  const std::lock_guard lock(mutex_);
  Connection* connection = first_;
  if (connection != nullptr) {
    first_ = connection->next_handled;
    if (first_ == nullptr) last_ = nullptr;
  }
  if (first_ == nullptr) {
    uint64_t count = 0;
    // If there is no signal, read() fails, which does no harm.
    [[maybe_unused]] const ssize_t n = ::read(event_, &count, sizeof count);
  }
  return connection;
}

void HandledQueue::wake() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(event_, &one, sizeof one);
}

}  // namespace seer::serve
