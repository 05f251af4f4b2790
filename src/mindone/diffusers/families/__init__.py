"""The families of models: what each is made of and how it is used, declared once; nothing above knows one by name."""
