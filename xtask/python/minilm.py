"""What the sentence encoder all-MiniLM-L6-v2 gives in PyTorch, in double precision, for the tests of the command.

    python minilm.py FOLDER OUT.npz

FOLDER holds the model as its package does (config.json, model.safetensors, tokenizer.json). Needs torch, transformers,
tokenizers, safetensors and numpy. For three sentences it writes the embeddings; for the first, explained by its
similarity to the second, also the gradient at the word embeddings, and what each token gets by integrated gradients
with 50 points of Gauss and Legendre from the embedding of [PAD] in the place of each token but [CLS] and [SEP].
"""

import sys

import numpy
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

SENTENCES = ["A cat sits on the warm windowsill.", "A feline rests in the sun.", "Interest rates rose again, said the bank."]


def main(folder, out):
    model = BertModel(BertConfig.from_json_file(f"{folder}/config.json"), add_pooling_layer=False)
    weights = {k: v for k, v in load_file(f"{folder}/model.safetensors").items() if not k.startswith("pooler.")}
    weights.pop("embeddings.position_ids", None)
    model.load_state_dict(weights, strict=True)
    model = model.double().eval()
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = [torch.tensor([tokenizer.encode(sentence).ids]) for sentence in SENTENCES]

    def encode(words):
        # The mean over all tokens, for none is padding here.
        hidden = model(inputs_embeds=words, attention_mask=torch.ones(words.shape[:2])).last_hidden_state
        return torch.nn.functional.normalize(hidden.mean(1), dim=1)

    look_up = model.embeddings.word_embeddings
    with torch.no_grad():
        embeddings = torch.cat([encode(look_up(ids)) for ids in encoded])

    def gradient(words):
        words = words.detach().requires_grad_()
        similarity = (encode(words) * embeddings[1]).sum()
        return torch.autograd.grad(similarity, words)[0], similarity.item()

    words = look_up(encoded[0]).detach()
    padded = torch.zeros_like(encoded[0])
    padded[0, 0], padded[0, -1] = encoded[0][0, 0], encoded[0][0, -1]
    baseline = look_up(padded).detach()
    nodes, shares = numpy.polynomial.legendre.leggauss(50)
    mean = sum(s / 2 * gradient(baseline + (n + 1) / 2 * (words - baseline))[0] for n, s in zip(nodes, shares))
    here, similarity = gradient(words)
    numpy.savez(
        out,
        embeddings=embeddings.numpy().astype("f4"),
        gradient=here[0].numpy().astype("f4"),
        tokens=(mean * (words - baseline))[0].sum(1).numpy(),
        similarity=numpy.array([similarity, gradient(baseline)[1]]),
    )


main(*sys.argv[1:])
