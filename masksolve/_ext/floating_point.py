"""Stand-in until merged."""


class Default:
    def __enter__(self):
        return self

    def __exit__(self, *a):
        return None
