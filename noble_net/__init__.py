"""Networks of biophysically detailed neurons at the price of small matrix products."""
