"""MindSpore's operators with settings, each made once: making one takes longer than running a small one."""

from mindspore import ops

bias_add = ops.BiasAdd()
matmul = ops.MatMul()
matmul_of_rows = ops.MatMul(transpose_b=True)
"""``a @ b.T``."""
batch_matmul = ops.BatchMatMul()
batch_matmul_of_rows = ops.BatchMatMul(transpose_b=True)
"""``a @ b.T`` of each pair of matrices."""
batch_matmul_of_columns = ops.BatchMatMul(transpose_a=True)
"""``a.T @ b`` of each pair."""
reduce_mean = ops.ReduceMean()
mean_kept = ops.ReduceMean(True)
max_kept = ops.ReduceMax(True)
sum_kept = ops.ReduceSum(True)
"""``…_kept`` keeps the axis, of length 1."""
