#include "models/weight_format.h"

#include <iomanip>
#include <sstream>

#include "seer/error.h"

namespace seer {
namespace {

int64_t bytes_of(WeightFormat format, int64_t rows, int64_t columns) {
  constexpr int64_t kScaleBytes = sizeof(float);
  switch (format) {
    case WeightFormat::kE4M3:
      return rows * (columns + kScaleBytes);
    case WeightFormat::kU4:
      return rows * (columns / 2 + columns / int4_group(columns).value() * kScaleBytes);
    case WeightFormat::kBF16:
    case WeightFormat::kStored:
      break;
  }
  return rows * columns * dtype_bytes(DType::kBF16);
}

const char* option_name(WeightFormat format) {
  return format == WeightFormat::kE4M3 ? "fp8" : format == WeightFormat::kU4 ? "int4" : "bf16";
}

}  // namespace

bool takes_format(const WeightSlot& slot, WeightFormat format) {
  return format != WeightFormat::kStored && !slot.is_vector() && slot.layer != WeightSlot::kNoLayer;
}

void check_format(WeightFormat format, const ModelConfig& config, const Shard& shard,
                  const std::string& source) {
  if (format == WeightFormat::kStored) return;
  const std::string name = option_name(format);
  if (config.quant)
    throw Error(ErrorKind::kUnsupported, source + ": weights as " + name +
                                             ": expected a checkpoint of plain weights, found one that is "
                                             "quantised already (" +
                                             config.quant->method + "). Leave out --weights.");
  if (format != WeightFormat::kU4) return;
  for (const WeightSlot& slot : weight_slots(config, shard, /*tied=*/true))
    if (takes_format(slot, format) && !int4_group(slot.local_columns()))
      throw Error(ErrorKind::kUnsupported,
                  source + ": weights as " + name +
                      ": expected inputs of linear layers that groups of 128, 64 or 32 divide, found " +
                      std::to_string(slot.local_columns()) + ". Use --weights fp8, or fewer ranks.");
}

FormatSize format_size(WeightFormat format, std::span<const WeightSlot> slots) {
  FormatSize size;
  for (const WeightSlot& slot : slots) {
    if (slot.is_vector() || slot.role == WeightRole::kEmbedding) continue;
    ++size.n_linear;
    if (!takes_format(slot, format)) continue;
    ++size.n_layers;
    size.n_params += slot.rows * slot.columns;
    size.n_bytes += bytes_of(format, slot.rows, slot.columns);
  }
  return size;
}

std::string format_text(WeightFormat format, const FormatSize& size, int64_t model_bytes,
                        int64_t model_params) {
  if (format == WeightFormat::kStored || format == WeightFormat::kBF16) return {};
  const auto bits = [](int64_t bytes, int64_t params) {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(params);
  };
  std::ostringstream text;
  text << "--weights " << option_name(format) << ": " << size.n_layers << " of " << size.n_linear
       << " linear layers, " << std::fixed << std::setprecision(2) << bits(size.n_bytes, size.n_params)
       << " bits a weight ("
       << (format == WeightFormat::kE4M3
               ? "F8_E4M3 with a scale for each output"
               : "int4 in groups of 128 inputs, or of 64 or 32 if 128 do not divide")
       << "), " << bits(model_bytes, model_params)
       << " with embeddings and all else that is plain; rounded to nearest while loading, not calibrated";
  return text.str();
}

std::string format_dtype(WeightFormat format) {
  return format == WeightFormat::kE4M3 ? dtype_name(DType::kF8E4M3)
         : format == WeightFormat::kU4 ? "int4"
                                       : dtype_name(DType::kBF16);
}

}  // namespace seer
