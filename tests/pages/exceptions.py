"""The commands and blocks of the pages that pages_test.py does not run as they stand there. All exceptions are in this file."""

BUILDS = "builds the project, which the test is a part of"
GPUS = "needs GPUs: the shape has more weights than a CPU computes in seconds"
DOWNLOAD = "downloads 93 to 478 MB"
CHECKPOINT = "downloads 15 GB or more, with their gates"
HOSTS = "needs several machines"
QUANTISED = "takes minutes, and a novel that is no part of the project"
SAMPLES = "samples long texts, which differ between processors, for half a minute"
NOVEL = "takes a minute or more, and a novel that is no part of the project"
INSTALLED = "builds and installs the project"
CONTAINER = "needs a running Docker"
TRAINS = "trains for many minutes, on texts that are no part of the project"

LLAMA_8B = ("seer bench --config examples/configs/llama-3.1-8b.json --random-weights \\\n"
            "  -p 8192,32768,131072 -n 128 --sparse dense,nz_ratio=0.1")

# Commands that are not run. (page, command): the reason, and a test that runs the command or something like it (None if there is
# none). The programs, files and options that they name are checked all the same.
NOT_RUN = {
    (".github/CONTRIBUTING.md", "cmake --preset release && cmake --build --preset release"): (BUILDS, None),
    ("README.md", "tools/quickstart.sh"): (BUILDS, None),
    ("README.md", "tools/test.sh"): ("runs this test", None),
    ("README.md", 'tools/quickstart.sh -p "Once upon a time" -n 100'): (BUILDS, None),
    ("README.md", "tools/quickstart.sh bench --help"): (BUILDS, None),
    ("README.md", "examples/long-answer/compare.sh"): (SAMPLES, "tests/tools/long_answer_test.py"),
    ("README.md", "examples/real-models/make.py qwen2.5-coder-0.5b"): (DOWNLOAD, "tests/tools/real_models_test.py"),
    ("engine/README.md", "cmake --preset release -DSEER_BUILD_TESTS=OFF && cmake --build --preset release"): (BUILDS, None),
    ("engine/README.md", "cmake --install build/release --prefix ~/seer"): (INSTALLED, "tests/package/installed_tree.py"),
    ("engine/README.md", "g++ -std=c++20 main.cc $(pkg-config --cflags --libs seer_engine) -Wl,-rpath,$HOME/seer/lib"):
        ("needs an installed library", "tests/package/package_test.py"),
    ("examples/python/README.md", "cmake --preset release && cmake --build --preset release --target seer_engine_shared"):
        (BUILDS, None),
    ("examples/real-models/README.md", "examples/real-models/make.py"): (DOWNLOAD, "tests/tools/real_models_test.py"),
    ("examples/real-models/README.md", "examples/real-models/make.py qwen2.5-coder-0.5b"):
        (DOWNLOAD, "tests/tools/real_models_test.py"),
    ("examples/train-gates/README.md", "seer distill -m path/to/model -f books/ --held-out other-books/ --window 32768 -o gates"):
        (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md", "seer distill -m path/to/model -f books/ --held-out other-books/ --window 32768 --kind decode "
                                       "--look-ups 0.5 \\\n    -o decode-gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md", "seer distill -m build/real-models/qwen2.5-coder-0.5b -f books/ --kind decode --window 32768 "
                                       "--batch 4 --steps 220 --look-ups 0.5 -o gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md", "seer distill -m build/real-models/smollm2 -f books/ --kind decode --window 8192 --batch 16 "
                                       "--steps 200 --look-ups 0.5 -o gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md",
     "seer generate -m build/real-models/qwen2.5-coder-0.5b -g examples/real-models/gates/qwen2.5-coder-0.5b \\\n"
     "    -g examples/real-models/decode-gates/qwen2.5-coder-0.5b -f report.txt"): (DOWNLOAD, "tests/tools/real_models_test.py"),
    ("examples/demo-model/README.md", "seer distill -m examples/demo-model/model -f books/ --kind decode --window 16384 --batch 8 "
                                      "--steps 250 --look-ups 0.5 -o decode-gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md", "seer tune -m path/to/model -g gates -f judged.txt --window 32000 --max-ppl-ratio 1.01 "
                                       "--report report --write"): (TRAINS, "tests/tools/tune_test.cc"),
    ("examples/train-gates/README.md", "examples/real-models/make.py qwen2.5-coder-0.5b"):
        (DOWNLOAD, "tests/tools/real_models_test.py"),
    ("examples/train-gates/README.md", "seer distill -m build/real-models/qwen2.5-coder-0.5b -f books/ --window 32768 --batch 4 "
                                       "--steps 160 -o gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("examples/train-gates/README.md", "seer distill -m build/real-models/smollm2 -f books/ --window 8192 --batch 16 --steps 200 "
                                       "-o gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("kernels/comm/README.md", "seer bench --config examples/configs/llama-3.1-8b.json --random-weights "
                               "-p 32768 -n 128 --tp 4"):
        (GPUS, "tools/gpu/check_ranks.sh"),
    ("kernels/comm/README.md", "seer generate -m /models/llama -g /models/gates -f book.txt -c 1048576 -n 200 --cp 8 "
                               "--chunk-size 65536"):
        (GPUS, "tools/gpu/check_ranks.sh"),
    ("kernels/comm/README.md", "mpirun -np 16 --hostfile hosts.txt --bind-to none seer generate -m /models/llama "
                               "-f report.txt -n 200"):
        (HOSTS, "tests/tools/two_hosts_test.sh"),
    ("README.md", 'hf download meta-llama/Llama-3.1-8B-Instruct --exclude "original/*" --local-dir ~/models/llama'): (CHECKPOINT, None),
    ("README.md", "hf download SeerAttention/SeerAttention-Llama-3.1-8B-AttnGates --local-dir ~/models/llama-gates"):
        (CHECKPOINT, None),
    ("models/README.md", "hf download Qwen/Qwen2.5-7B-Instruct --local-dir ~/models/qwen2.5-7b"): (CHECKPOINT, None),
    ("models/README.md", "hf download SeerAttention/SeerAttention-Qwen2.5-7B-AttnGates --local-dir ~/models/qwen2.5-7b-gates"):
        (CHECKPOINT, None),
    ("models/DESIGN.md", "tests/quant/make_quantised.py examples/demo-model/model int4 --form int4 --group 64"):
        (QUANTISED, "tests/quant/make_quantised_test.py"),
    ("models/DESIGN.md", "seer perplexity -m int4 -g examples/demo-model/gates -f treasure-island.txt --window 8192 "
                         "--max-windows 6 --sparse dense,threshold=0.01"): (QUANTISED, None),
    ("models/DESIGN.md", "head -c 40000 treasure-island.txt | tail -c 36000 >prompt.txt"): (QUANTISED, None),
    ("models/DESIGN.md", "seer inspect -m int4 -g examples/demo-model/gates -f prompt.txt --sparse threshold=0.01 "
                         "--dump masks.safetensors"): (QUANTISED, None),
    ("tests/bench/README.md",
     "build/release/bin/seer perplexity -m examples/demo-model/model -g examples/demo-model/decode-gates --device cpu --window 8192 \\\n"
     "    --max-windows 4 --decode-tokens 512 --sparse-decode dense,ratio=0.1,budget=1024 -f treasure-island.txt"): (NOVEL, None),
    ("tests/bench/README.md",
     "tests/bench/needle.py build/release/bin/seer examples/demo-model/model examples/demo-model/decode-gates treasure-island.txt \\\n"
     "    --sparse-decode dense,budget=1024"): (NOVEL, None),
    ("tests/bench/README.md", LLAMA_8B): (GPUS, "tools/gpu/check.sh"),
    ("tests/bench/results/README.md", "cat build/gpu-check/results.jsonl >>tests/bench/results/nvidia-h200.jsonl"):
        (GPUS, "tools/gpu/check.sh"),
    ("tools/seer/README.md", LLAMA_8B): (GPUS, "tools/gpu/check.sh"),
    ("tools/seer/README.md", "seer distill -m path/to/model -f novels/ --window 8192 --batch 2 --steps 200 -o gates"):
        (TRAINS, "tests/tools/distill_test.cc"),
    ("tools/seer/README.md", "seer distill -m path/to/model -f novels/ --window 8192 --batch 2 --steps 200 --kind decode "
                             "-o decode-gates"): (TRAINS, "tests/tools/distill_test.cc"),
    ("tools/seer/README.md", "seer generate -m path/to/model -g gates -g decode-gates -f report.txt"):
        (TRAINS, "tests/tools/distill_test.cc"),
    ("tools/package/README.md", "tools/package.sh"): (BUILDS, "tests/package/package_test.py"),
    ("tools/package/README.md", "apt install ./build/package/packages/*.deb"): (INSTALLED, "tests/package/package_test.py"),
    ("tools/package/README.md", "docker build -f tools/package/Dockerfile -t seer ."): (CONTAINER, None),
    ("tools/package/README.md", 'docker run --rm -p 127.0.0.1:8080:8080 -v "$PWD/examples/demo-model:/models:ro" seer \\\n'
                                "  serve -m /models/model -g /models/gates --host 0.0.0.0"): (CONTAINER, None),
    ("tools/package/README.md", "docker build -f tools/package/Dockerfile.cuda -t seer-cuda ."): (CONTAINER, None),
}

# (page, command) that is only run if SEER_REAL_MODELS names the folder of models that examples/real-models/make.py makes.
NEED_REAL_MODELS = {
    ("README.md", "seer chat -m build/real-models/qwen2.5-coder-0.5b -g '' --temp 0"),
    ("examples/real-models/README.md", "seer chat -m build/real-models/qwen2.5-coder-0.5b -g ''"),
    ("examples/real-models/README.md",
     "seer chat -m build/real-models/qwen2.5-coder-0.5b -g examples/real-models/gates/qwen2.5-coder-0.5b"),
    ("examples/train-gates/README.md",
     "seer chat -m build/real-models/qwen2.5-coder-0.5b -g examples/real-models/gates/qwen2.5-coder-0.5b"),
}

# (page, words of a command): the words that replace them, because the page's command would take too long.
SHORTER = {
    ("tests/bench/README.md", "-p 16384 -n 0"): "-p 1024 -n 0 -r 1 --no-warmup",
    ("tools/seer/README.md", "seer bench -p 1024 -n 0 -d 8192"): "seer bench -r 1 --no-warmup -p 1024 -n 0 -d 8192",
}

# Blocks without commands. (page, language, first line): the file that tests the block.
SNIPPETS = {
    ("engine/README.md", "cpp", "#include <iostream>"): "tests/pages/CMakeLists.txt",
    ("engine/README.md", "cpp", "request.on_logits = [&](std::span<const int32_t> /*tokens*/, std::span<float> logits) {"):
        "tests/pages/snippets.cc",
    ("engine/README.md", "cpp", "std::vector<std::unique_ptr<seer::Generation>> running;"): "tests/pages/snippets.cc",
    ("engine/README.md", "cmake", "find_package(seer_engine 0.2 CONFIG REQUIRED)"): "examples/embed/CMakeLists.txt",
    ("examples/python/README.md", "python", "import seer"): "tests/c_api/python_test.py",
    ("tools/seer/serve/README.md", "python", "from openai import OpenAI"): "tests/pages/pages_test.py",
}

# Options that are not those of `seer`. (page, option): the program that has it.
OPTIONS_OF_OTHERS = {
    ("CHANGELOG.md", "--cpu-activations"): "seer 0.1.0",
    ("models/DESIGN.md", "--float64-angles"): "tests/bench/upstream_check.py",
    ("tools/package/README.md", "--cuda"): "tools/package.sh",
    ("tools/package/README.md", "--variant"): "debootstrap",
    (".github/CONTRIBUTING.md", "--plot"): "tools/gpu/bench_attention.py",
    ("SECURITY.md", "--table"): "tests/tools/bad_files_test.py",
    ("engine/README.md", "--static"): "pkg-config",
    ("kernels/comm/README.md", "--mca"): "mpirun",
    ("models/README.md", "--exclude"): "hf",
    ("kernels/cuda/attention/prefill_sm90/DESIGN.md", "--heads"): "tests/bench/gpu_ops.cc",
}
