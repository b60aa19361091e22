"""CUDA kernels on a CPU, for tests: a C++ compiler takes them, and each thread of a block is one of the system's."""

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

COMPILER = shutil.which("g++")
PRELUDE = """
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
#define __global__
#define __device__ static inline
#define __shared__ static
#define __syncthreads() barrier->arrive_and_wait()
struct Three { int x, y, z; };
struct float4 { float x, y, z, w; };
struct uchar4 { unsigned char x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }
static thread_local Three threadIdx, blockIdx;
static Three blockDim, gridDim;
static std::barrier<>* barrier;
"""
LAUNCH = """
extern "C" void launch(int grid_columns, int grid_rows, int threads, {parameters}) {{
  blockDim = {{threads, 1, 1}};
  gridDim = {{grid_columns, grid_rows, 1}};
  for (int y = 0; y < grid_rows; y++) for (int x = 0; x < grid_columns; x++) {{
    std::barrier<> all(threads);
    barrier = &all;
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++) running.emplace_back([=] {{
      threadIdx = {{t, 0, 0}};
      blockIdx = {{x, y, 0}};
      {name}({names});
      barrier->arrive_and_drop();
    }});
    for (auto& each : running) each.join();
  }}
}}
"""


@functools.cache
def compiled(source: str, name: str) -> Callable:
    """Stands in for `kernels._compiled`: a kernel that is called in the same way, with tensors on the CPU."""
    parameters = re.search(rf"__global__ void {name}\((.*?)\)", source, re.S).group(1)
    names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", parameters))
    text = PRELUDE + source + LAUNCH.format(parameters=parameters, name=name, names=names)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.cpp").write_text(text)
        command = [COMPILER, "-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", "-w", "kernel.cpp", "-o", "kernel.so"]
        subprocess.run(command, cwd=folder, check=True)
        launch = ctypes.CDLL(str(Path(folder) / "kernel.so")).launch

    def kernel(grid: tuple[int, int, int], block: tuple[int, int, int], args: list) -> None:
        passed = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int(a) for a in args]
        launch(grid[0], grid[1], block[0], *passed)

    return kernel
