/* Gates for decoding, from C99: sparse_decode_test MODEL_DIR GATES_DIR (the demo model, whose gates are for
 * prompts). Gates for decoding are random, with a model of random weights whose config.json the test writes.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <unistd.h>

#include "tests/c_api/check.h"

static const char* const kShape =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\","
    " \"hidden_size\": 128, \"intermediate_size\": 128, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 2, \"head_dim\": 32, \"vocab_size\": 256, \"max_position_embeddings\": 1024,"
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"torch_dtype\": \"bfloat16\","
    " \"seerattn_k_seq_pooling_type\": \"Kmaxminavg\", \"seerattn_q_head_pooling_type\": \"Qproj\","
    " \"seerattn_gate_block_size\": 16, \"seerattn_gate_hidden_size\": 32, \"seerattn_use_qk_norm\": true,"
    " \"seerattn_sparsity_method\": \"token_budget\", \"seerattn_token_budget\": 64,"
    " \"seerattn_start_layer\": 1}";

static double decode_density(seer_engine* engine, const seer_request* request) {
  seer_session* session = NULL;
  seer_result result;
  memset(&result, 0, sizeof result);
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK(seer_session_generate(session, request, &result, sizeof result) == SEER_OK);
  CHECK(result.n_generated == 8 && result.density == 1.0);
  seer_session_free(session);
  return result.decode_density;
}

static void rules_choose(seer_engine* engine) {
  int32_t prompt[300];
  seer_request request;
  seer_session* session = NULL;
  double own, few;
  int i;
  for (i = 0; i < 300; ++i) prompt[i] = (i * 37) % 256;
  CHECK(seer_request_init(&request, sizeof request) == SEER_OK);
  CHECK(request.sparse_decode == NULL);
  request.prompt = prompt;
  request.n_prompt = 300;
  request.max_new_tokens = 8;
  request.ignore_eos = 1;
  own = decode_density(engine, &request); /* 4 blocks, besides them the first and the last, of 19 or 20 */
  CHECK(own >= 4.0 / 20 && own <= 6.0 / 19);
  request.sparse_decode = "dense";
  CHECK(decode_density(engine, &request) == 1.0);
  request.sparse_decode = "budget=16";
  few = decode_density(engine, &request);
  CHECK(few >= 2.0 / 20 && few < own);
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  request.sparse_decode = "budget=15";
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "one block of 16 tokens");
  request.sparse_decode = "nz_ratio=0.1";
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "nz_ratio=0.1");
  request.sparse_decode = NULL;
  request.sparse = "threshold=0.1";
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE,
              "only gates for decoding were loaded");
  seer_session_free(session);
}

int main(int argc, char** argv) {
  char path[] = "/tmp/seer-shape-XXXXXX";
  const int file = mkstemp(path);
  seer_engine_options o;
  seer_engine_info info;
  seer_engine* engine = NULL;
  require_folders(argc, argv);
  CHECK(file >= 0 && write(file, kShape, strlen(kShape)) == (ssize_t)strlen(kShape));
  close(file);

  o = cpu_options(argv, 1);
  o.more_gates_dir = o.gates_dir;
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_FILE, "found a second one");

  o.model_dir = o.gates_dir = o.more_gates_dir = NULL;
  o.random_config = path;
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  unlink(path);
  if (engine == NULL) return 1;
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(info.has_decode_gates == 1 && info.has_gates == 0 && info.decode_start_layer == 1);
  CHECK(strcmp(info.default_decode_rule, "budget=64") == 0 && strcmp(info.default_rule, "dense") == 0);
  CHECK(info.page_tokens == 16);
  rules_choose(engine);
  seer_engine_free(engine);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
