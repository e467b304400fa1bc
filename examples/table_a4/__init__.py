"""A scaled-down Table A.4 and Figure A.3 of the paper: accuracy under ten sorts of masks."""
