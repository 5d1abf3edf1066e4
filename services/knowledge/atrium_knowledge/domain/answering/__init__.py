"""How a question is answered from passages: pure rules and small trained weights, no I/O."""
