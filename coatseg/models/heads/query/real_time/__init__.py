"""The parts of RT-DETR, which import transformers: head=rtdetr is in rtdetr.py beside this folder."""
