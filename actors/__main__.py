"""The only entrance: the verbs of the engine and of this daemon."""


def main() -> None:
    """Run the command line."""


if __name__ == "__main__":
    main()
