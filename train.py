"""Train a dense-prediction model on a CoaT backbone: `python train.py --help`."""

from coatseg.commands.train import main

if __name__ == "__main__":
    main()
