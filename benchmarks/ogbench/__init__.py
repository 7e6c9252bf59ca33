"""QAM's released code, our QAM and DIVL + QAM on single tasks of OGBench."""
