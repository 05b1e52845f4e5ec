# Included by CMake while llama-cpp-python is compiled (see install.py). Its CMakeLists forces llama.cpp's "common"
# library on, which takes more than half of the build and is never loaded from Python; a plain variable of the same
# name comes before the forced cache entry.
set(LLAMA_BUILD_COMMON OFF)
